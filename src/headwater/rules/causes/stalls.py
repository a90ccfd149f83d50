"""Causes that keep weights or the loss where they are."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.rules.causes.explanation import Explanation

STALLS: Mapping[str, Explanation] = {
    "vanishing-gradient": Explanation(
        what="The loss stands still because layers are starved of their gradient.",
        seen="Under a thousandth of the signal reaches some weight matrices; HW101 says where it "
        "is lost, and to what.",
        do="Let the signal through first: the draw that fits the activation, normalisation, or "
        "residual connections.",
    ),
    "learning-rate-too-low": Explanation(
        what="The weights hardly move, so the loss does not either.",
        seen="No matrix changes by more than a millionth of itself a step, or all steps together "
        "move none by 0.3 % of its size.",
        do="Raise the learning rate a hundredfold, then lower it again until the loss falls "
        "smoothly.",
        code="torch.optim.Adam(model.parameters(), lr=1e-3)",
    ),
    "update-below-precision": Explanation(
        what="Updates are smaller than the spacing of the weights' number format, so that "
        "w + dw is w again.",
        seen="Of the entries with a gradient that is not zero, the step left most as they were.",
        do="Keep float32 copies of the weights, or raise the learning rate.",
        code="model.float()  # and torch.autocast for the forward pass",
        source="Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740, section "
        "3.1.",
    ),
    "not-in-optimiser": Explanation(
        what="Parameters get a gradient and no optimiser holds them: they stay as they were drawn.",
        seen="They are not in any parameter group of an optimiser that stepped, and have a "
        "gradient.",
        do="Pass all of the model's parameters, after its last layer was added.",
        code="torch.optim.Adam(model.parameters())",
    ),
    "detached": Explanation(
        what="The path from the loss to parameters is cut: by detach(), .data, .item(), a NumPy "
        "round trip or torch.no_grad().",
        seen="An optimiser holds them and no backward pass ever reached them, while others of the "
        "model are reached; the source has a line that cuts what an operation in the graph is made "
        "of.",
        do="Remove the cut, or the module that nothing trains.",
        code="hidden = encoder(x)  # not encoder(x).detach()",
    ),
    "requires-grad-off": Explanation(
        what="Parameters that an optimiser holds have requires_grad off: they are frozen, on "
        "purpose or not.",
        seen="The flag is off; told as information, and as a warning only if the loss stands "
        "still, or no matrix is left to learn and the loss is still high.",
        do="Switch it on, or leave them out of the optimiser so that it is plain.",
        code="layer.requires_grad_(True)",
    ),
    "step-before-backward": Explanation(
        what="The calls of a step are out of order, so that no gradient is there when the "
        "optimiser "
        "steps.",
        seen="Backward passes left gradients, at the optimiser's step there was none, and nothing "
        "moved; the source shows which call is early.",
        do="Call them in this order.",
        code="optimizer.zero_grad()\nloss.backward()\noptimizer.step()",
    ),
    "double-softmax": Explanation(
        what="A softmax stands before a loss that takes one itself: what reaches the second lies "
        "between 0 and 1, so no class can get all of the probability.",
        seen="The graph has a Softmax between the last layer and the loss's LogSoftmax.",
        do="Remove the first.",
        code="F.cross_entropy(model(x), labels)  # logits, not probabilities",
    ),
    "softmax-over-one": Explanation(
        what="A softmax over a single unit is 1 whatever the unit says, and its derivative is 0.",
        seen="The gradient is exactly zero behind a softmax after a last layer of one unit.",
        do="Use a sigmoid for one unit, or one unit for each class.",
        code="F.binary_cross_entropy_with_logits(model(x)[:, 0], labels)",
    ),
    "output-range": Explanation(
        what="An activation after the last layer cannot put out what the loss asks for.",
        seen="Half of the outputs are flat; or the targets that the loss kept go beyond the "
        "activation's range by half of their standard deviation; or bounded logits go into a "
        "softmax, which then can be sure of nothing.",
        do="Take the activation away, or scale the targets into its range.",
        code="return self.head(x)  # not torch.relu(self.head(x))",
    ),
    "labels-independent-of-inputs": Explanation(
        what="What is to be learnt does not depend on the inputs: labels were shuffled, or read "
        "from another row.",
        seen="The loss stands where an answer that ignores its input has it (the entropy of the "
        "labels, the variance of the targets), the weights moved by their own size, and nothing "
        "else is wrong.",
        do="Look at a few inputs beside their labels, as the network gets them.",
    ),
}
"""By the cause's name."""
