"""Causes that make steps too large: scales of weights, inputs and targets, rates, momentum."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.rules.causes.explanation import Explanation

SIZES: Mapping[str, Explanation] = {
    "weight-scale-too-large": Explanation(
        what="The weights are drawn so large that each layer multiplies its input and the "
        "gradient, "
        "or pushes its activation to where it is flat.",
        seen="Fan-in times the variance of a matrix is ten or more in the first sample (He draws "
        "2, Xavier 1), or the ledger's gain of decades stands at weights.",
        do="Draw smaller weights.",
        code="nn.init.xavier_normal_(layer.weight)",
        source="Glorot and Bengio (2010), Understanding the difficulty of training deep "
        "feedforward neural networks.",
    ),
    "recurrent-expansion": Explanation(
        what="A loop through time multiplies the gradient at every step.",
        seen="The ledger's gain stands at weights that are used ten times or more in one pass; or "
        "those weights multiply the mean square by ten or more, or have a spectral radius of 1.2 "
        "or more while the first sample's gradient grows tenfold over the loop.",
        do="Start the recurrent weights orthogonal, and clip the gradient's norm.",
        code="nn.init.orthogonal_(cell.weight_hh)\n"
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
        source="Pascanu et al. (2013), On the difficulty of training recurrent neural networks, "
        "arXiv:1211.5063.",
    ),
    "normalisation-depth": Explanation(
        what="Every batch normalisation before a ReLU multiplies the gradient by about 1.2 on its "
        "way back, and there are many in a chain. The first steps throw the early weights away.",
        seen="The ledger's gain of decades stands at normalisations.",
        do="Add residual connections round them, or clip the gradient's norm.",
        code="x = x + torch.relu(norm(layer(x)))",
        source="Yang et al. (2019), A mean field theory of batch normalization, arXiv:1902.08129.",
    ),
    "unscaled-inputs": Explanation(
        what="The inputs are many times larger than one, so the first layer's output and gradient "
        "are, too.",
        seen="The inputs' root mean square, which the norm of the first weights' gradient over "
        "that "
        "of their output's gradient tells, is ten or more; or pre-activations of the first layer "
        "have nine times the mean square that its weights explain.",
        do="Standardise the inputs.",
        code="inputs = (inputs - inputs.mean(0)) / inputs.std(0)",
        source="LeCun et al. (1998), Efficient BackProp, section 4.3.",
    ),
    "unscaled-targets": Explanation(
        what="The targets are many times larger than one. A squared loss's first gradient is as "
        "large as they are, and outputs have a long way to go.",
        seen="The root mean square of the targets that the loss kept is ten or more; where it kept "
        "none, the first error is five or more.",
        do="Standardise the targets, and scale the outputs back.",
        code="targets = (targets - targets.mean(0)) / targets.std(0)",
        source="LeCun et al. (1998), Efficient BackProp, section 4.",
    ),
    "loss-reduction": Explanation(
        what="The loss is a sum over the batch where the rate is meant for a mean: the gradient is "
        "as many times too large as there are entries.",
        seen="The loss's gradient at the outputs is three times or more what a mean of that loss "
        "can give (1.5 times for a cross entropy, whose mean is bounded).",
        do="Take the mean, or divide the learning rate by the batch's size.",
        code='F.mse_loss(outputs, targets, reduction="mean")',
    ),
    "learning-rate-too-high": Explanation(
        what="Steps are longer than the curvature allows: each lands on the far side of the "
        "valley, "
        "higher up than it left.",
        seen="Inputs, errors and weights are of ordinary size in the first sample, and the loss "
        "leaps, swings or grows. Where the update was sampled, its length times the curvature "
        "along "
        "it, from the gradients before and after, is told: 1 reaches the bottom, and beyond 2 the "
        "step ends higher than it began.",
        do="Lower the learning rate tenfold, or clip the gradient's norm.",
        code="torch.optim.SGD(model.parameters(), lr=0.01)",
        source="Cohen et al. (2021), Gradient descent on neural networks typically occurs at the "
        "edge of stability, arXiv:2103.00065; Nocedal and Wright (2006), Numerical optimization, "
        "equation 6.6, for the secant.",
    ),
    "momentum-too-high": Explanation(
        what="The momentum adds up so many gradients that a turn takes as many steps again: the "
        "weights overshoot and swing.",
        seen="The optimiser's momentum is 0.95 or more, and nothing else is out of scale.",
        do="Lower it to 0.9, or the learning rate by the same factor as 1 - momentum.",
        code="torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)",
        source="Sutskever et al. (2013), On the importance of initialization and momentum in deep "
        "learning.",
    ),
    "gradients-not-zeroed": Explanation(
        what="Gradients are never set to zero, so each step uses the sum of all so far.",
        seen="From step to step the gradient's norm changes by a small part of what the loss does, "
        "as a long sum does and a fresh gradient does not, and it has grown twentyfold.",
        do="Zero them before each backward pass.",
        code="optimizer.zero_grad()",
    ),
    "unbounded-loss": Explanation(
        what="The loss has no least value: the larger the outputs, the lower it is. The optimiser "
        "makes them larger for ever, and nothing else is learnt.",
        seen="The loss falls in each tenth of the run, to below zero, and has not come to rest; "
        "and all that stands between the last layer and it is linear, or a loss that is negative "
        "only by a sign turned round or by targets that it does not take. Without such a graph it "
        "has to fall ever faster, to a thousand times its start.",
        do="Turn the sign, or give the loss what it takes: log-probabilities to nll_loss, targets "
        "from 0 to 1 to a binary cross entropy.",
        code="loss = F.cross_entropy(outputs, targets)",
    ),
    "growing-numbers": Explanation(
        what="Numbers double at a steady pace and will leave the range of their format.",
        seen="A line through the logarithms of the largest entries, over the newest half of the "
        "steps, reaches the format's largest number before the run is twice as long, even at the "
        "slow end of its 95 % interval.",
        do="Normalise what grows, lower the learning rate, or use bfloat16, which has float32's "
        "range.",
        source="Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740.",
    ),
    "falling-loss-scale": Explanation(
        what="The GradScaler has to lower its scale again and again: the gradient itself grows.",
        seen="A line through the logarithm of the loss scale reaches 1 before the run is twice as "
        "long.",
        do="Clip the gradient's norm or lower the learning rate; look at what else grows.",
        source="Micikevicius et al. (2018), Mixed precision training, arXiv:1710.03740.",
    ),
}
"""By the cause's name."""
