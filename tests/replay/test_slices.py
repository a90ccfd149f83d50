"""The statements that make a loss anew, on the shapes that training loops have."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import dedent

import pytest

from headwater.replay.slices import NotReplayable, slice_of


def lines(
    text: str, line: int, again: Sequence[str], function: str = "<module>", column: int = -1
) -> tuple[tuple[int, ...], set[str]]:
    cut = slice_of(
        dedent(text).lstrip("\n"), function, line, column,
        again=set(again).__contains__, known=lambda name: name != "gone",
    )  # fmt: skip
    return cut.lines, set(cut.taken)


def test_only_what_makes_the_loss_is_run_again() -> None:
    text = """
        for x, y in batches:
            opt.zero_grad()
            out = model(x)
            seen += len(x)
            loss = criterion(out, y)
            log.append(loss.item())
            loss.backward()
    """
    assert lines(text, 7, ["out", "loss"]) == ((3, 5, 7), {"model", "x", "criterion", "y"})


def test_of_statements_on_one_line_the_column_tells() -> None:
    text = "for x in xs:\n    loss = f(x); opt.zero_grad(); loss.backward(); opt.step()\n"
    cut = slice_of(
        text, "<module>", 2, text.splitlines()[1].index("loss.backward"),
        again={"loss"}.__contains__, known=lambda _: True,
    )  # fmt: skip
    assert len(cut.body) == 2


def test_a_with_block_around_the_statements_is_still_open_and_not_entered_again() -> None:
    text = """
        for x, y in batches:
            with autocast():
                out = model(x)
                loss = criterion(out, y)
                scaler.scale(loss).backward()
    """
    found, taken = lines(text, 5, ["out", "loss"])
    assert found == (3, 4, 5)
    assert "autocast" not in taken


def test_a_list_is_filled_again_from_where_it_was_empty() -> None:
    text = """
        def step(self, batch):
            x, y = batch
            losses = []
            for head in self.heads:
                losses.append(head(x).mean())
            total = 0
            for part in losses:
                total = total + part
            total.backward()
    """
    found, taken = lines(text, 9, ["losses", "total", "part"], "step")
    assert found == (3, 4, 6, 7, 9)
    assert taken == {"self", "x"}


def test_the_second_pass_of_a_gan_leaves_the_first_out() -> None:
    text = """
        for real in batches:
            fake = generator(noise())
            d_loss = critic(fake.detach()).mean() - critic(real).mean()
            d_loss.backward()
            d_opt.step()
            g_loss = -critic(fake).mean()
            g_loss.backward()
    """
    assert lines(text, 7, ["fake", "d_loss", "g_loss"])[0] == (2, 6, 7)


def test_what_both_branches_make_is_made() -> None:
    text = """
        for x in xs:
            if wide:
                out = a(x)
            else:
                out = b(x)
            out.sum().backward()
    """
    assert lines(text, 6, ["out"])[0] == (2, 6)


def test_an_attribute_is_a_name_of_its_own() -> None:
    text = """
        def train(self):
            self.loss = self.criterion(self.net(self.x))
            self.loss.backward()
    """
    assert lines(text, 3, ["self.loss"], "train") == ((2, 3), {"self"})


def test_a_value_that_needs_no_making_is_taken_as_it_is() -> None:
    text = """
        for _ in range(3):
            x, y = next(stream)
            x = normalise(x)
            loss = criterion(model(x), y)
            loss.backward()
    """
    assert lines(text, 5, ["loss"])[0] == (4, 5)


@pytest.mark.parametrize(
    ("text", "line", "again", "why"),
    [
        ("for x in xs:\n    x = model(x)\n    x.sum().backward()\n", 3, ["x"], "new value"),
        ("def back(loss):\n    loss.backward()\n", 2, ["loss"], "from outside"),
        ("for x in xs:\n    loss = f(gone)\n    loss.backward()\n", 3, ["loss"], "not there"),
        ("for x in xs:\n    if a:\n        h = f(x)\n    h.backward()\n", 4, ["h"], "new value"),
        ("with run(loss.backward()):\n    pass\n", 1, [], "no statement"),
        ("x = (\n", 1, [], "source"),
    ],
)
def test_what_cannot_be_made_again_is_refused(
    text: str, line: int, again: list[str], why: str
) -> None:
    function = "back" if text.startswith("def") else "<module>"
    with pytest.raises(NotReplayable, match=why):
        slice_of(text, function, line, again=set(again).__contains__, known=lambda n: n != "gone")


def test_a_method_s_super_and_private_names_work_outside_of_it() -> None:
    text = """
        class Base:
            def part(self):
                return 2
        class Net(Base):
            __scale = 3
            def train(self):
                loss = super().part() * self.__scale
                found.append(loss)
                stop(loss)
    """
    source = dedent(text).lstrip("\n")
    namespace: dict[str, object] = {}
    exec(source, namespace)
    cut = slice_of(source, "train", 9, again={"loss"}.__contains__, known=lambda _: True)
    got: list[object] = []
    net = namespace["Net"]
    values = {"self": net(), "__class__": net, "stop": got.append}  # type: ignore[operator]
    exec(compile(cut.module(), "x.py", "exec"), values)
    assert got == [6]
