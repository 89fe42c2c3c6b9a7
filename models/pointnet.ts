import { firstGenerator } from "./first-generator.ts";
import { ModelBuilder } from "./model-builder.ts";

/**
 * Point cloud classifier: points [batch, 3, 128] → logits [batch, 10]. The same small network reads every point
 * (1×1 convolutions), and the maximum over the points makes the answer independent of their order.
 */
export function pointnet(): ModelBuilder {
  const m = new ModelBuilder("pointnet", { input: "points", sample: [3, 128], random: firstGenerator(3) });
  const layer1 = m.relu("relu1", m.batchNorm("bn1", m.conv("conv1", m.input, 32, 1)));
  const layer2 = m.relu("relu2", m.batchNorm("bn2", m.conv("conv2", layer1, 64, 1)));
  const layer3 = m.relu("relu3", m.batchNorm("bn3", m.conv("conv3", layer2, 128, 1)));
  const shape = m.maxOverLast("max", layer3);
  return m.output(m.linear("logits", m.relu("relu4", m.linear("fc1", shape, 64)), 10));
}
