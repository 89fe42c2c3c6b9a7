import { fileURLToPath } from "node:url";
import { encodeModel, inject, readModel, som, strip, verify } from "sorth-onnx";

const model = await readModel(fileURLToPath(new URL("../../models/cnn.onnx", import.meta.url)));
const injected = await inject(model, { penalties: [som()] });
console.log(injected.proto.graph.output.map(({ name }) => name)); // the model's outputs, then sorth_penalty

const { checks } = await verify(model, injected);
for (const { name, status } of checks) console.log(status !== "failed" ? "ok  " : "FAIL", name);

const same = Buffer.compare(encodeModel(strip(injected)), encodeModel(model)) === 0;
console.log("stripped to the original bytes:", same);
