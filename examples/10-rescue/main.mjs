import { join } from "node:path";
import { arrayDataset, checkpointOf, rescuedInference, rescueFiles, Trainer } from "sorth-onnx";

const folder = process.argv[2];
// training_model.onnx, with checkpoint and optimizer_model.onnx beside it.
const run = await rescueFiles(join(folder, "training_model.onnx"));
// Goes on with the optimizer, its state and the learning rate of that run.
const trainer = await Trainer.rescue(run, { batch: 16 });
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
console.log("updates", checkpointOf(trainer.state(), run.checkpoint).optimizer.step);
await trainer.release();
