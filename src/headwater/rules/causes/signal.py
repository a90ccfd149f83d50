"""Causes that take the signal away: activations, weights and depth."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.rules.causes.explanation import Explanation

SIGNAL: Mapping[str, Explanation] = {
    "inherent-derivative": Explanation(
        what="The activation's derivative is small everywhere, so every layer takes a part of the "
        "gradient however its weights are drawn: sigmoid's is 0.25 at most, 0.6 decades a layer.",
        seen="Of the decades lost between the loss and the starved layer, the ledger's largest "
        "share is activations', and under half of their entries are saturated or dead.",
        do="Use an activation whose derivative reaches 1, with the draw that fits it, or normalise "
        "between layers.",
        code="x = torch.relu(layer(x))\nnn.init.kaiming_normal_(layer.weight)",
        source="Glorot and Bengio (2010), Understanding the difficulty of training deep "
        "feedforward neural networks.",
    ),
    "saturation": Explanation(
        what="The gradient is lost in activations that are flat: pre-activations lie where "
        "sigmoid or tanh does not change any more.",
        seen="The ledger's largest share of the lost decades is activations' of which half of the "
        "entries or more have a derivative under 5 % of the largest. Why they are flat, HW104 "
        "says.",
        do="Shrink what goes into them: smaller weights (Xavier), standardised inputs, or a "
        "normalisation before the activation.",
        code="nn.init.xavier_normal_(layer.weight)",
        source="LeCun et al. (1998), Efficient BackProp, section 4.",
    ),
    "dead-units": Explanation(
        what="The gradient ends in ReLU units that are zero for every example: their derivative is "
        "exactly 0, and so is what they pass on.",
        seen="The loss of signal stands at activations with half of their units or more dead in "
        "the sample. Why they died, HW103 says.",
        do="Revive them: He initialisation, zero biases, a lower learning rate, or an activation "
        "that leaks.",
        code="x = F.leaky_relu(layer(x), 0.01)",
        source="Lu et al. (2019), Dying ReLU and initialization, arXiv:1903.06733.",
    ),
    "weight-scale-too-small": Explanation(
        what="The weights are drawn so small that each layer shrinks the gradient (and the signal) "
        "by more than its activation makes up for.",
        seen="The ledger's largest share of the lost decades is that of the weights, in layers "
        "each of which loses 0.3 decades or more.",
        do="Draw them at the activation's critical gain: He for ReLU, Xavier for tanh, or what "
        "`headwater.critical_` computes for any other.",
        code="nn.init.kaiming_normal_(layer.weight)  # ReLU\nheadwater.critical_(model)",
        source="He et al. (2015), Delving deep into rectifiers, arXiv:1502.01852, section 2.2.",
    ),
    "depth-beyond-trainable": Explanation(
        what="No single layer is to blame: each takes a little, and there are so many that nothing "
        "is left. Beyond a few depth scales a plain chain cannot be trained.",
        seen="Fifteen layers of weights or more lie on the path, and eight in ten of them lose "
        "under 0.3 decades each; or ten hidden layers or more end in one direction.",
        do="Add residual connections, which give the gradient a way round every layer, or draw the "
        "weights exactly critical.",
        code="x = x + torch.relu(layer(x))",
        source="Schoenholz et al. (2017), Deep information propagation, arXiv:1611.01232.",
    ),
    "recurrent-contraction": Explanation(
        what="A loop through time shrinks the gradient at every step, so that what came early "
        "cannot be learnt.",
        seen="Weights that are used ten times or more in one pass lose three decades from the "
        "last of their calls to the first, while the loss stands still. If what is left from call "
        "to call is mostly the weights' spectral radius, they are to be drawn anew; else the "
        "activation takes it.",
        do="Start the recurrent weights orthogonal, or use a gated cell whose forget gate starts "
        "open.",
        code="nn.init.orthogonal_(cell.weight_hh)",
        source="Pascanu et al. (2013), On the difficulty of training recurrent neural networks, "
        "arXiv:1211.5063.",
    ),
    "non-zero-mean-init": Explanation(
        what="The weights have a mean: all units of a layer add up the same sum of their inputs, "
        "which grows with the fan-in, agree, and saturate together.",
        seen="Pre-activations of the first sample have twice or more of the mean square that "
        "zero-mean weights of the same norm can produce.",
        do="Draw the weights around zero.",
        code="nn.init.xavier_uniform_(layer.weight)  # not nn.init.uniform_(layer.weight)",
        source="Glorot and Bengio (2010), Understanding the difficulty of training deep "
        "feedforward neural networks.",
    ),
    "ordered-phase": Explanation(
        what="The weights are so small against the biases, or the activation so flat, that layer "
        "by layer different inputs become alike, until one number per example is left.",
        seen="The share of variance in one direction rises with depth to 99 %, in fewer than ten "
        "hidden layers, and pre-activations are not larger than zero-mean weights explain.",
        do="Draw the weights at the edge of chaos, or add residual connections.",
        code="headwater.critical_(model)",
        source="Poole et al. (2016), Exponential expressivity in deep neural networks through "
        "transient chaos, arXiv:1606.05340.",
    ),
    "attention-collapse": Explanation(
        what="Attention's scores are so large that its softmax gives all weight to one token: it "
        "passes no gradient back to queries and keys, which cannot learn where to look.",
        seen="In nine rows in ten one entry has all but 0.013 of the weight, in the first samples "
        "already and in the newest, and the loss has not left its start.",
        do="Divide the scores by the root of their width, draw smaller query and key weights, or "
        "normalise both.",
        code="scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5",
        source="Zhai et al. (2023), Stabilizing transformer training by preventing attention "
        "entropy collapse, arXiv:2303.06296.",
    ),
    "constant-init": Explanation(
        what="All units of a layer start with the same weights. They get the same gradient and "
        "stay copies of each other: a layer of a hundred does the work of one.",
        seen="The L1 norms of all units' weights agree to six digits, from the first sample to the "
        "newest, though the matrix moves or the loss stands still.",
        do="Draw the weights at random; biases may be constant.",
        code="nn.init.kaiming_normal_(layer.weight)",
        source="Goodfellow et al. (2016), Deep learning, section 8.4.",
    ),
    "weight-init": Explanation(
        what="The ReLU units are dead because of how their weights were drawn: with a negative "
        "mean, and inputs that are positive, every sum is negative.",
        seen="They were dead in the first sample, and the biases are small against the weights.",
        do="Draw the weights around zero, or use an activation that leaks.",
        code="nn.init.kaiming_normal_(layer.weight)",
        source="Lu et al. (2019), Dying ReLU and initialization, arXiv:1903.06733.",
    ),
    "negative-bias": Explanation(
        what="Biases push the ReLU units below zero for every example.",
        seen="They were dead in the first sample, and a bias's root mean square is 0.5 or more.",
        do="Set the biases to zero, or normalise before the activation.",
        code="nn.init.zeros_(layer.bias)",
        source="Lu et al. (2019), Dying ReLU and initialization, arXiv:1903.06733.",
    ),
    "input-shift": Explanation(
        what="The inputs lie far from zero, all on one side, so the sign of a unit's sum of "
        "weights decides for all examples at once: half of the ReLU units are dead from the start.",
        seen="Units were dead in the first sample, biases are small, and the inputs' root mean "
        "square is ten or more; inputs of that size around zero would kill none.",
        do="Standardise the inputs.",
        code="inputs = (inputs - inputs.mean(0)) / inputs.std(0)",
        source="LeCun et al. (1998), Efficient BackProp, section 4.3.",
    ),
}
"""By the cause's name."""
