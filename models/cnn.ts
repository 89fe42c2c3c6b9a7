import { firstGenerator } from "./first-generator.ts";
import { ModelBuilder } from "./model-builder.ts";

/**
 * MNIST classifier with BatchNormalization and one residual block: x [batch, 1, 28, 28] → logits [batch, 10].
 * The stem halves the image immediately, which keeps a training step cheap.
 */
export function cnn(): ModelBuilder {
  const m = new ModelBuilder("cnn", { input: "x", sample: [1, 28, 28], random: firstGenerator(2) });
  // 28×28×1 → 14×14×16
  const stem = m.relu("relu1", m.batchNorm("bn1", m.conv("conv1", m.input, 16, 5, { stride: 2 })));
  // Residual block, 14×14×16
  const inner = m.relu("relu2", m.batchNorm("bn2", m.conv("conv2", stem, 16, 3)));
  const branch = m.batchNorm("bn3", m.conv("conv3", inner, 16, 3));
  const block = m.relu("relu3", m.add("residual", stem, branch));
  // 14×14×16 → 7×7×32 → 7×7×32
  const halved = m.relu("relu4", m.batchNorm("bn4", m.conv("conv4", block, 32, 3, { stride: 2 })));
  const top = m.relu("relu5", m.batchNorm("bn5", m.conv("conv5", halved, 32, 3)));
  return m.output(m.linear("logits", m.flatten("flatten", m.globalAveragePool("pool", top)), 10));
}
