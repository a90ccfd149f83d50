"""Causes that break numbers, or lose their digits."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.rules.causes.explanation import Explanation

_HALF = "Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740."

NUMBERS: Mapping[str, Explanation] = {
    "log-of-zero": Explanation(
        what="The logarithm of 0 is minus infinity, and its derivative infinite.",
        seen="A log, or its backward, was given zeros and made the first number that is not "
        "finite.",
        do="Take the logarithm together with the function before it.",
        code="F.log_softmax(x, -1)  # not torch.log(torch.softmax(x, -1))",
    ),
    "log-of-negative": Explanation(
        what="The logarithm of a negative number is NaN, and its gradient need not be.",
        seen="A log was given entries below 0 (below -1 for log1p).",
        do="Look at what makes its input; it should be positive.",
    ),
    "sqrt-at-zero": Explanation(
        what="The derivative of a root, a norm or a standard deviation is infinite at 0.",
        seen="The backward of such an operation was given a zero and made the first infinity.",
        do="Add a small number inside of the root.",
        code="torch.sqrt(x.square().sum(-1) + 1e-12)",
    ),
    "sqrt-of-negative": Explanation(
        what="The root of a negative number is NaN.",
        seen="A root was given entries below 0, as rounding can make of a sum of squares.",
        do="Clamp its input at 0.",
        code="torch.sqrt(x.clamp(min=0))",
    ),
    "power-at-zero": Explanation(
        what="0 to a negative power is infinite, and so is the derivative of a power below 1 "
        "there.",
        seen="A power, or its backward, was given zeros and an exponent that is not a whole "
        "positive number.",
        do="Add a small number to the base.",
    ),
    "power-of-negative": Explanation(
        what="A negative number to a power that is not whole is NaN.",
        seen="A power was given negative entries and a fraction.",
        do="Take the magnitude first, or clamp the base at 0.",
    ),
    "zero-over-zero": Explanation(
        what="0 divided by 0 is NaN.",
        seen="A division was given zeros on both sides.",
        do="Guard it where both are 0.",
        code="a / b.clamp(min=1e-12)",
    ),
    "division-by-zero": Explanation(
        what="A number divided by 0 is infinite.",
        seen="A division, or a reciprocal root, was given a divisor of 0.",
        do="Guard it where the divisor is 0.",
        code="a / b.clamp(min=1e-12)",
    ),
    "division-by-tiny": Explanation(
        what="The divisor is so small that the quotient leaves the format's range.",
        seen="A division of finite numbers made an infinity, and its divisor is not 0.",
        do="Add a small number to the divisor.",
    ),
    "exp-overflow": Explanation(
        what="The exponential of a large number is infinite: above 88.7 in float32, 11.1 in "
        "float16.",
        seen="An exponential was given a finite number beyond that.",
        do="Subtract the largest entry first, as softmax and logsumexp do.",
        code="torch.logsumexp(x, -1)  # not torch.exp(x).sum(-1).log()",
    ),
    "inf-minus-inf": Explanation(
        what="Infinity minus infinity is NaN.",
        seen="A sum or difference was given infinities and made the first NaN.",
        do="Look at what made them infinite; a mask should be a large negative number, or be "
        "applied once.",
    ),
    "inf-over-inf": Explanation(
        what="Infinity divided by infinity is NaN.",
        seen="A division was given infinities on both sides.",
        do="Look at what made them infinite; a softmax by hand wants its largest entry taken off "
        "first.",
        code="torch.softmax(x, -1)",
    ),
    "zero-times-inf": Explanation(
        what="0 times infinity is NaN.",
        seen="A product was given a zero and an infinity, and made the first NaN. In a backward "
        "pass the zero may be a branch of torch.where that was not taken.",
        do="Make the branch that is not taken finite as well, before the where.",
        code="torch.where(x > 0, torch.log(x.clamp(min=1e-12)), 0.0)",
    ),
    "masked-row": Explanation(
        what="A row all of whose logits are minus infinity has no softmax: it is NaN.",
        seen="A softmax was given rows of nothing but minus infinity.",
        do="Leave one entry of every row unmasked, or set the row to 0 afterwards.",
    ),
    "domain": Explanation(
        what="A function was given a number outside of where it is defined, or at the end of it, "
        "where its derivative is infinite: acos, asin, atanh, logit, erfinv.",
        seen="One of these was given such entries and made the first number that is not finite.",
        do="Clamp its input a little inside of the ends.",
        code="torch.acos(x.clamp(-1 + 1e-6, 1 - 1e-6))",
    ),
    "variance-of-one": Explanation(
        what="The unbiased variance of a single element is 0 divided by 0.",
        seen="A variance or standard deviation was taken over one element.",
        do="Use more than one, or the biased one.",
        code="x.var(0, correction=0)",
    ),
    "overflow-in-half": Explanation(
        what="A result is beyond 65,504, the largest number of float16.",
        seen="An operation on finite float16 numbers, or a cast to it, made an infinity.",
        do="Run this line in float32 or bfloat16.",
        code='with torch.autocast("cuda", enabled=False):\n    y = layer(x.float())',
        source=_HALF,
    ),
    "overflow-in-product": Explanation(
        what="A product left its format's range: both sides were large already.",
        seen="A multiplication of finite numbers made an infinity. If the updates before had blown "
        "the weights up, the learning rate is told first.",
        do="Look at what grew before it: the learning rate, the weights, or the inputs.",
    ),
    "overflow-in-reduction": Explanation(
        what="A sum, mean, product or norm left its format's range.",
        seen="A reduction of finite numbers made an infinity.",
        do="Scale before it, or reduce in a wider format.",
        code="x.sum(dtype=torch.float32)",
    ),
    "non-finite": Explanation(
        what="An operation made a number that is not finite of finite ones, in a way that no other "
        "cause describes.",
        seen="It is the first operation with finite inputs and an output that is not.",
        do="Look at its inputs, which the finding lists.",
    ),
    "bad-input": Explanation(
        what="The data had a NaN or an infinity in it before the network saw it.",
        seen="The first tensor that is not finite was made by no operation of the training.",
        do="Clean the data; the network's numbers are fine.",
        code="assert torch.isfinite(inputs).all()",
    ),
    "bad-buffer": Explanation(
        what="A buffer, such as batch normalisation's running variance or one over the deviation "
        "of a column that is constant, was not finite when the step began.",
        seen="The step's first operation that is not finite read it from a buffer.",
        do="Look at the step that wrote it; reset it.",
        code="norm.reset_running_stats()",
    ),
    "bad-update": Explanation(
        what="Every gradient was finite and the optimiser's update made weights that are not: a "
        "rate that is far too high, or an eps that the weights' format rounds to 0.",
        seen="A weight is not finite at the start of a step whose numbers before were.",
        do="Lower the learning rate or clip the gradient's norm; in float16, raise Adam's eps "
        "above "
        "6e-8 or keep float32 weights.",
        code="torch.optim.Adam(model.parameters(), eps=1e-4)",
    ),
    "unscaled-half-precision": Explanation(
        what="Gradients are made in float16 without a loss scale, and the small ones round to 0: "
        "it ends at 6e-8.",
        seen="A tenth of the gradient or more is 0 that the exponents beside it say was not, and "
        "no GradScaler scales the loss.",
        do="Scale the loss, or use bfloat16.",
        code='scaler = torch.amp.GradScaler("cuda")\nscaler.scale(loss).backward()\n'
        "scaler.step(optimizer)\nscaler.update()",
        source=_HALF,
    ),
    "loss-scale-too-small": Explanation(
        what="The loss is scaled, and not enough: small gradients still round to 0.",
        seen="As for a missing scale, with a GradScaler at work.",
        do="Start the scale higher, or use bfloat16.",
        code='torch.amp.GradScaler("cuda", init_scale=2.0**20)',
        source=_HALF,
    ),
    "precision-underflow": Explanation(
        what="The gradient is lost where it is cast to a shorter format.",
        seen="The ledger's largest share of the lost decades is that of casts.",
        do="Scale the loss, or use bfloat16.",
        code='scaler = torch.amp.GradScaler("cuda")',
        source=_HALF,
    ),
    "naive-softmax": Explanation(
        what="A softmax is written out as exp(x) / exp(x).sum(), and its exponentials are so small "
        "that their sum has lost digits.",
        seen="A tenth of these sums or more lie under the format's smallest normal number.",
        do="Subtract the largest entry first, as the library's does.",
        code="torch.softmax(x, -1)",
    ),
}
"""By the cause's name."""
