import { firstGenerator } from "./first-generator.ts";
import { ModelBuilder } from "./model-builder.ts";

/** MNIST classifier 784-128-64-10: x [batch, 1, 28, 28] → logits [batch, 10]. */
export function mlp(): ModelBuilder {
  const m = new ModelBuilder("mlp", { input: "x", sample: [1, 28, 28], random: firstGenerator(1) });
  const hidden1 = m.relu("relu1", m.linear("fc1", m.flatten("flatten", m.input), 128));
  const hidden2 = m.relu("relu2", m.linear("fc2", hidden1, 64));
  return m.output(m.linear("logits", hidden2, 10));
}
