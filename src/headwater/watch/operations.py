"""The table of autograd operations: which kind each one is, and which keep a gradient's norm.

Names are those of autograd's nodes without the suffix: ``AddmmBackward0`` is ``Addmm``, and the
node of a double backward pass (``TanhBackwardBackward0``) is filed under its base. A name that is
not here is ``other``: counted and named in the record, never dropped.
"""

from __future__ import annotations

import re

from headwater.records import Kind

_WEIGHTS = """
    Convolution ConvDepthwise2D ConvDepthwise3D ConvTbc ConvolutionOverrideable
    ConvolutionBackwardOverrideable CudnnConvolution CudnnConvolutionTranspose MiopenConvolution
    MiopenConvolutionTranspose MiopenDepthwiseConvolution MkldnnConvolution MpsConvolution
    MpsConvolutionTranspose NnpackSpatialConvolution SlowConv2D SlowConv3D SlowConvDilated2D
    SlowConvDilated3D SlowConvTranspose2D SlowConvTranspose3D Linear MkldnnLinear Embedding
    EmbeddingBag EmbeddingBagDense EmbeddingDense EmbeddingRenorm MkldnnRnnLayer CudnnRnn MiopenRnn
    LstmMps ThnnFusedLstmCell ThnnFusedGruCell Trilinear WeightNormInterface GroupedMm
    FakeQuantizeLearnablePerChannelAffine FakeQuantizeLearnablePerTensorAffine
"""

PRODUCTS = frozenset(
    """
    Mm Bmm Addmm Addmv Mv Addbmm Baddbmm Addr Dot Vdot Matmul ForeachMm SparseAddmm
    SparseMmReduceImpl SparseSampledAddmm SparseSparseMatmul
    """.split()
)
"""Matrix products: of weights where one side is a parameter, of activations (attention) if not."""

_ACTIVATION = """
    Relu LeakyRelu PreluKernel RreluWithNoise RreluWithNoiseFunctional Elu Celu Gelu Silu Hardswish
    Mish Sigmoid Tanh Softplus Hardtanh Hardsigmoid Hardshrink Softshrink LogSigmoid Threshold Glu
    Sin Sinc Cos Tan Sinh Cosh Erf Erfc Asinh Atan ForeachSigmoid ForeachTanh
"""

_NORMALISATION = """
    NativeBatchNorm NativeBatchNormLegit NativeBatchNormLegitNoTraining BatchNorm BatchNormNoUpdate
    BatchNormWithUpdate CudnnBatchNorm MiopenBatchNorm NativeLayerNorm NativeGroupNorm FusedRmsNorm
    Renorm
"""

_ATTENTION = """
    Softmax SafeSoftmax MaskedSoftmax SparseSoftmax SoftmaxBackwardData
    ScaledDotProductFlashAttention ScaledDotProductFlashAttentionForCpu
    ScaledDotProductEfficientAttention ScaledDotProductCudnnAttention
    ScaledDotProductFusedAttentionOverrideable CudnnAttention EfficientAttention FlashAttention
"""

_JUNCTION = """
    Cat Stack BlockDiag SelectScatter SliceScatter DiagonalScatter AsStridedScatter Maximum Minimum
    Fmax Fmin Where Lerp Hypot IndexAdd IndexCopy IndexPut IndexPutImpl UnsafeIndexPut MaskedScatter
    Scatter ScatterAdd ScatterReduce Put Copysign Nextafter
"""

_LOSS = """
    NllLoss NllLoss2D BinaryCrossEntropy BinaryCrossEntropyWithLogits MseLoss SmoothL1Loss HuberLoss
    SoftMarginLoss MultiMarginLoss MultilabelMarginLoss CtcLoss CudnnCtcLoss MiopenCtcLoss
    LogSoftmax LogSoftmaxBackwardData SparseLogSoftmax Logsumexp Cdist Pdist Dist EuclideanDist
    Logcumsumexp
"""

_PRECISION = """
    ToCopy ToMkldnn ToDense Lift LiftFresh FakeQuantizePerChannelAffineCachemask
    FakeQuantizePerTensorAffineCachemask FakeQuantizePerTensorAffineCachemaskTensorQparams
    FusedMovingAvgObsFqHelper
"""

_SHAPE = """
    View UnsafeView ReshapeAlias ReshapeCopy MkldnnReshape T Transpose Permute Squeeze Unsqueeze
    Expand Alias Clone LazyClone AsStrided Slice SliceInverse Select Split SplitWithSizes
    UnsafeSplit UnsafeSplitWithSizes Chunk Unbind Narrow NarrowCopy Diagonal DiagEmbed Unfold Im2Col
    Col2Im Flip Roll Rot90 Repeat Tril Triu Gather Index IndexSelect UnsafeIndex UnsafeMaskedIndex
    UnsafeMaskedIndexPutAccumulate IndexFill IndexReduce MaskedFill MaskedSelect Take Topk Sort
    Kthvalue Mode Median Nanmedian Max Min Amax Amin Aminmax Cummax Cummin ConstantPadNd
    ReflectionPad1D ReflectionPad2D ReflectionPad3D ReplicationPad1D ReplicationPad2D
    ReplicationPad3D PixelShuffle PixelUnshuffle ChannelShuffle AvgPool2D AvgPool3D
    AdaptiveAvgPool2D AdaptiveAvgPool3D AdaptiveMaxPool2D AdaptiveMaxPool3D MkldnnAdaptiveAvgPool2D
    MkldnnMaxPool2D MkldnnMaxPool3D MaxPool2D MaxPool2DWithIndices MaxPool3DWithIndices MaxUnpool2D
    MaxUnpool3D FractionalMaxPool2D FractionalMaxPool3D UpsampleBicubic2D UpsampleBicubic2DAa
    UpsampleBilinear2D UpsampleBilinear2DAa UpsampleLanczos2DAa UpsampleLinear1D UpsampleNearest1D
    UpsampleNearest2D UpsampleNearest3D UpsampleNearestExact1D UpsampleNearestExact2D
    UpsampleNearestExact3D UpsampleTrilinear3D GridSampler2D GridSampler2DCpuFallback GridSampler3D
    CudnnGridSampler AffineGridGenerator CudnnAffineGridGenerator NativeDropout FusedDropout Fill
    Zero CopySlices ViewAsComplex ViewAsReal Conj Values NestedFromPadded NestedFromPaddedTensor
    NestedGetValues NestedTensorFromMask NestedTensorFromTensorList NestedViewFromBuffer
    NestedViewFromJagged ToPaddedTensor PackPaddedSequence Coalesce ToSparse PinMemory Trace
    SegmentReduce NegView Neg Reciprocal Rsub Copy Identity ToSparseBsc ToSparseBsr ToSparseCsc
    ToSparseCsr SparseSum SparseMask SparseCompressedTensor SparseCooTensorWithDimsAndTensors Unique
    Unique2 UniqueConsecutive UniqueDim UniqueDimConsecutive Cauchy Exponential Geometric LogNormal
    Poisson Random StandardGamma StandardGammaGrad Uniform
"""

ARITHMETIC = frozenset(
    """
    Add Sub Mul Div Addcmul Addcdiv Pow Abs Exp Exp2 Expm1 Log Log2 Log10 Log1P Sqrt Rsqrt Square
    Mean Sum Nansum Prod Std StdMean Var VarMean Norm LinalgVectorNorm Clamp ClampMin ClampMax
    NanToNum Sign Sgn Floor Ceil Round Trunc Frac Fmod Remainder Cumsum Cumprod Logaddexp
    Logaddexp2 Xlogy SpecialXlog1Py SpecialEntr SpecialErfcx SpecialI0E SpecialI1 SpecialI1E
    SpecialLogNdtr SpecialNdtri SpecialZeta Lgamma Digamma Polygamma Mvlgamma Igamma Igammac Erfinv
    Logit Acos Acosh Asin Atan2 Atanh Deg2Rad Rad2Deg Angle Polar Complex ConjPhysical I0 Ldexp
    Frexp Cross LinalgCross FftC2C FftC2R FftR2C Eq Ne Ge Gt Le Lt Bernoulli Normal
    """.split()
)
"""Arithmetic: the loss's own where it stands between the loss and the network, shape elsewhere."""

TAME = frozenset(
    """
    AccumulateGrad Addmm Mm Bmm Linear Convolution Embedding Add Sub Mul Neg Rsub Mean Sum
    Relu LeakyRelu PreluKernel Elu Celu Gelu Silu Hardswish Sigmoid Tanh Hardtanh Hardsigmoid
    Softplus LogSigmoid NativeBatchNorm NativeLayerNorm NativeGroupNorm
    MseLoss SmoothL1Loss HuberLoss NllLoss LogSoftmax BinaryCrossEntropyWithLogits
    View UnsafeView ReshapeAlias T Transpose Permute Squeeze Unsqueeze Expand Alias Clone Cat Stack
    MaxPool2DWithIndices AvgPool2D AdaptiveAvgPool2D
    """.split()
)
"""Operations of which no gradient can be NaN under a finite loss, unless a number overflows first.

Their derivatives have no pole, as those of a square root and a division have, and what is no
number in front of them is none behind them, either: nothing is picked or masked, so the loss tells,
but for examples that a loss is told to ignore.
"""

_LINALG = """
    Cholesky CholeskyInverse CholeskySolve LinalgCholeskyEx LinalgDet LinalgEig LinalgEigh
    LinalgHouseholderProduct LinalgInvEx LinalgLstsq LinalgLu LinalgLuFactorEx LinalgLuSolve
    LinalgMatrixExp LinalgPinv LinalgQr LinalgSlogdet LinalgSolveEx LinalgSolveTriangular LinalgSvd
    LuUnpack Ormqr Geqrf TriangularSolve
"""

_COMPILED = "CompiledFunction"

_LISTS: tuple[tuple[Kind, str], ...] = (
    ("weights", _WEIGHTS),
    ("activation", _ACTIVATION),
    ("normalisation", _NORMALISATION),
    ("attention", _ATTENTION),
    ("junction", _JUNCTION),
    ("loss", _LOSS),
    ("precision", _PRECISION),
    ("shape", _SHAPE),
    ("shape", _LINALG),
    ("compiled", _COMPILED),
    ("parameter", "AccumulateGrad"),
)
_TABLE: dict[str, Kind] = {name: kind for kind, names in _LISTS for name in names.split()}
_TABLE |= dict.fromkeys(ARITHMETIC, "shape")
_TABLE |= dict.fromkeys(PRODUCTS, "weights")

ISOMETRIES = frozenset(
    """
    View UnsafeView ReshapeAlias T Transpose Permute Squeeze Unsqueeze Alias Clone PixelShuffle
    PixelUnshuffle ChannelShuffle Flip Roll Neg NegView Conj ViewAsComplex ViewAsReal
    BackwardHookFunction
    """.split()
)
"""Operations whose backward only moves entries: the outgoing norm is the incoming one.

Only where they pass the whole gradient to one input; the walk checks that.
"""

_SUFFIX = re.compile(r"(Backwards?\d*(Autograd\w+)?)+(_copy)?$")
_PYTHON: dict[str, Kind] = {
    "CheckpointFunction": "shape",
    "BackwardHookFunction": "shape",
    "SyncBatchNorm": "normalisation",
    "CrossMapLRN2d": "normalisation",
    "FlexAttentionAutogradOp": "attention",
}
"""Nodes of torch's that are written in Python."""


def operation_name(node_name: str) -> str:
    """Return an autograd node's operation, without the suffix and C++ scopes.

    Example:
        >>> operation_name("ThnnFusedGruCellBackward0"), operation_name("TanhBackwardBackward0")
        ('ThnnFusedGruCell', 'Tanh')
        >>> operation_name("torch::autograd::AccumulateGrad")
        'AccumulateGrad'
    """
    name = node_name.rsplit("::", 1)[-1].strip(">")
    return _SUFFIX.sub("", name) or node_name


def base_kind(operation: str) -> Kind:
    """Return the kind an operation has when nothing around it says otherwise.

    Example:
        >>> base_kind("Gelu"), base_kind("NativeLayerNorm"), base_kind("MyOwnFunction")
        ('activation', 'normalisation', 'other')
    """
    if operation.startswith("Foreach") and operation not in _TABLE:
        return "shape"
    return _TABLE.get(operation) or _PYTHON.get(operation, "other")
