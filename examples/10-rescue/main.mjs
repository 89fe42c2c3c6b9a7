import { join } from "node:path";
import {
  adamwOrt,
  arrayDataset,
  checkpointOf,
  readCheckpoint,
  readModel,
  rescuedInference,
  rescueModel,
  Trainer,
} from "sorth-onnx";

const folder = process.argv[2];
const before = await readCheckpoint(join(folder, "checkpoint"));
const { model, options, state } = rescueModel(await readModel(join(folder, "training_model.onnx")), before);

const trainer = await Trainer.create(model, {
  ...options,
  optimizer: adamwOrt(),
  learningRate: 1e-3,
  batch: 16,
});
trainer.takeOver(state);
const x = Float32Array.from({ length: 64 * 20 }, (_, i) => Math.sin(i));
const data = arrayDataset(
  x,
  Int32Array.from({ length: 64 }, (_, i) => i % 5),
  [20],
);
for await (const event of trainer.fit(data, { epochs: 3 })) {
  if (event.event === "epoch") console.log(`epoch ${event.epoch}: loss ${event.loss.toFixed(4)}`);
}

// A model for inference, and a checkpoint that the official sessions go on from (writeModel, writeCheckpoint).
console.log(rescuedInference(trainer.export()).proto.graph.output.map(({ name }) => name));
console.log("updates", checkpointOf(trainer.state(), before).optimizer.step);
await trainer.release();
