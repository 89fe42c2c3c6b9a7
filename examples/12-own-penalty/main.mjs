import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  arrayDataset,
  crossEntropy,
  definePenalty,
  inject,
  readModel,
  som,
  Trainer,
  verify,
} from "sorth-onnx";

// Weights of length 1: the mean of (‖w‖ − length)² over a layer's units. Its derivative is worked out from the graph.
const unitLength = definePenalty({
  name: "unit-length",
  on: "weights",
  defaults: { length: 1 },
  build: ({ g, unitVectors }, { length }) => {
    const norms = g.sqrt(g.reduceSum(g.square(unitVectors()), [-1]));
    return g.reduceMean(g.square(g.sub(norms, length)));
  },
});

const model = await readModel(join(fileURLToPath(new URL(".", import.meta.url)), "../../models/mlp.onnx"));
const penalties = [
  { penalty: som(), weight: 0.1 },
  { penalty: unitLength({ length: 1.5 }), weight: 0.5, schedule: "cosine" },
];

const pixels = Float32Array.from({ length: 256 * 784 }, (_, i) => Math.sin(i * i));
const labels = Int32Array.from({ length: 256 }, (_, i) => i % 10);
const trainer = await Trainer.create(model, { objective: crossEntropy(), penalties, batch: 32 });
for await (const event of trainer.fit(arrayDataset(pixels, labels, [1, 28, 28]), { epochs: 3 })) {
  if (event.event === "epoch") console.log(`epoch ${event.epoch}`, event.penalties);
}
await trainer.release();

// It goes into a file as the others do; verify takes it from here, since the file knows only its name.
const injected = await inject(model, { penalties });
const { passed } = await verify(model, injected, { penalties: penalties.map(({ penalty }) => penalty) });
console.log("injected and verified:", passed);
