import { blockConvolutions } from "./backends/block-convolutions.ts";
import { deviationApart } from "./backends/deviation-apart.ts";
import { fillChannels } from "./backends/fill-channels.ts";
import { fillGroups } from "./backends/fill-groups.ts";
import { halfInFloat } from "./backends/half-in-float.ts";
import { integerKernels } from "./backends/integer-kernels.ts";
import { joinSplits } from "./backends/join-splits.ts";
import { lowerOpset } from "./backends/lower-opset.ts";
import { narrowIntegers } from "./backends/narrow-integers.ts";
import { openQuickly } from "./backends/open-quickly.ts";
import { powersAlike } from "./backends/powers-alike.ts";
import { readTransposed } from "./backends/read-transposed.ts";
import { refuseMiscomputed } from "./backends/refuse-miscomputed.ts";
import { sliceThenTurn } from "./backends/slice-then-turn.ts";
import { writeOutMissing } from "./backends/write-out-missing.ts";
import { computeOnce } from "./cleanup/compute-once.ts";
import { foldConstants, foldValues } from "./cleanup/fold-constants.ts";
import { liftConstants } from "./cleanup/lift-constants.ts";
import { splitShared } from "./cleanup/split-shared.ts";
import { tieCopies } from "./cleanup/tie-copies.ts";
import { expandBodies } from "./expansion/expand-bodies.ts";
import { inlineFunctions } from "./expansion/inline-functions.ts";
import { liftBodyConstants } from "./expansion/lift-body-constants.ts";
import { placeByMask } from "./expansion/place-by-mask.ts";
import { raiseWithBranches } from "./expansion/raise-with-branches.ts";
import { readLastSelected } from "./expansion/read-last-selected.ts";
import { resolveSequences } from "./expansion/resolve-sequences.ts";
import { takeBranches } from "./expansion/take-branches.ts";
import { unrollLoops } from "./expansion/unroll-loops.ts";
import { writeOutProducts } from "./expansion/write-out-products.ts";
import { rowsLayout } from "./layout/rows-layout.ts";
import { raiseOpset } from "./opset/raise-opset.ts";
import type { Pass } from "./pass.ts";
import { recognizeActivations, writeOutActivations } from "./training/activations.ts";
import { attentionBias } from "./training/attention-bias.ts";
import { setBatchNormForm } from "./training/batch-norm.ts";
import { checkpointSegments } from "./training/checkpoint-segments.ts";
import { emptyCache } from "./training/empty-cache.ts";
import { exactProducts } from "./training/exact-products.ts";
import { lowerBatchNorm } from "./training/lower-batch-norm.ts";
import { mixedPrecision } from "./training/mixed-precision.ts";
import { poolBeforeRelu } from "./training/pool-before-relu.ts";
import { readFinalState } from "./training/read-final-state.ts";
import { recognizeLayerNormalization } from "./training/recognize-layer-normalization.ts";
import { recomputeActivations } from "./training/recompute-activations.ts";
import { replaceDraws } from "./training/replace-draws.ts";
import { replaceDropout } from "./training/replace-dropout.ts";
import { stillStatistics } from "./training/still-statistics.ts";
import { stopDropout } from "./training/stop-dropout.ts";
import { storeAsRead } from "./training/store-as-read.ts";
import { vectorProducts } from "./training/vector-products.ts";
import { widenHalf } from "./training/widen-half.ts";
import { writeOutAttention } from "./training/write-out-attention.ts";
import { writeOutQuantizers } from "./training/write-out-quantizers.ts";

/** Every pass, by subject; what each makes of a small graph is in test/passes/printed. */
export const passes = {
  // Opset
  raiseOpset,
  // Expansion
  inlineFunctions,
  liftBodyConstants,
  takeBranches,
  unrollLoops,
  resolveSequences,
  expandBodies,
  readLastSelected,
  placeByMask,
  raiseWithBranches,
  writeOutProducts,
  // Cleanup
  liftConstants,
  foldValues,
  foldConstants,
  tieCopies,
  splitShared,
  computeOnce,
  // Training
  emptyCache,
  writeOutAttention,
  setBatchNormForm,
  lowerBatchNorm,
  replaceDropout,
  replaceDraws,
  stillStatistics,
  stopDropout,
  poolBeforeRelu,
  readFinalState,
  recognizeActivations,
  writeOutActivations,
  storeAsRead,
  recognizeLayerNormalization,
  recomputeActivations,
  checkpointSegments,
  widenHalf,
  exactProducts,
  attentionBias,
  vectorProducts,
  writeOutQuantizers,
  mixedPrecision,
  // Layout
  rowsLayout,
  // Backends
  blockConvolutions,
  refuseMiscomputed,
  narrowIntegers,
  writeOutMissing,
  integerKernels,
  lowerOpset,
  fillChannels,
  fillGroups,
  sliceThenTurn,
  powersAlike,
  deviationApart,
  readTransposed,
  joinSplits,
  halfInFloat,
  openQuickly,
} satisfies Readonly<Record<string, () => Pass<unknown>>>;
