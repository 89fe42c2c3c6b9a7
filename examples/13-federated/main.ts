import { fileURLToPath } from "node:url";
import { crossEntropy, datasetSubset, loadMnist, readModel, Trainer } from "sorth-onnx";
import { clientOf, federate, toBytes } from "./federation.ts";

const rounds = 4;
const model = await readModel(fileURLToPath(new URL("../../models/mlp.onnx", import.meta.url)));
const options = { objective: crossEntropy(), batch: 32, learningRate: 1e-3, threads: 1 };
const { train, test } = await loadMnist();
if (!test) throw new Error("these digits have no test part");

// Three owners of 1,800 digits: 300, 600 and 900; half of an owner's digits are of three or four classes, as its users write.
const labels = new Int32Array(3000);
train.fill([...labels.keys()], new Float32Array(3000 * 784), labels);
const shares: number[][] = [[], [], []];
const sizes = [300, 600, 900];
for (const [index, label] of labels.entries()) {
  const owner = index % 2 === 0 ? label % 3 : index % 3;
  if ((shares[owner]?.length ?? 0) < (sizes[owner] ?? 0)) shares[owner]?.push(index);
}
const data = shares.map((indices) => datasetSubset(train, indices));

// Each client has a trainer of its own; only bytes pass between clients and server.
const trainers = await Promise.all(data.map((_, seed) => Trainer.create(model, { ...options, seed })));
const clients = trainers.map((trainer, i) => clientOf(trainer, data[i] ?? train));
const server = await Trainer.create(model, options);
const start = await server.parameters({ flat: true, statistics: true });
console.log(
  `${start.length} parameters, ${toBytes({ samples: 0, parameters: Float32Array.from(start) }).length} bytes a message`,
);
for await (const { round, parameters } of federate(clients, Float32Array.from(start), rounds)) {
  await server.setParameters(parameters);
  console.log(`round ${round}: accuracy ${(await server.evaluate(test)).accuracy?.toFixed(4)}`);
}

// Beside it: one owner alone, and all the data in one place, for as many passes.
const alone = await Trainer.create(model, options);
for await (const _ of alone.fit(data[0] ?? train, { epochs: rounds }));
console.log(`first owner alone: accuracy ${(await alone.evaluate(test)).accuracy?.toFixed(4)}`);
const central = await Trainer.create(model, options);
for await (const _ of central.fit(datasetSubset(train, shares.flat()), { epochs: rounds }));
console.log(`central: accuracy ${(await central.evaluate(test)).accuracy?.toFixed(4)}`);
for (const trainer of [...trainers, server, alone, central]) await trainer.release();
