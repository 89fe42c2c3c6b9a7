import { InferenceSession, Tensor } from "onnxruntime-node";

const [stepFile, initialFile] = process.argv.slice(2);
const step = await InferenceSession.create(stepFile);
const initial = await InferenceSession.create(initialFile);

// Parameters, optimizer slots and running statistics, by the names of the step's inputs.
let state = await initial.run({});
const scalar = (value) => new Tensor("float32", Float32Array.of(value), []);
const own = new Set([...Object.keys(state), "labels", "learning_rate", "step", "penalty_weight"]);
const { name: data, shape: x } = step.inputMetadata.find(({ name }) => !own.has(name));
const batch = x[0];

for (let number = 1; number <= 10; number++) {
  const pixels = Float32Array.from({ length: x.reduce((a, b) => a * b) }, (_, i) => Math.sin(i));
  const outputs = await step.run({
    ...state,
    [data]: new Tensor("float32", pixels, x),
    labels: new Tensor(
      "int32",
      Int32Array.from({ length: batch }, (_, i) => i % 2),
      [batch],
    ),
    learning_rate: scalar(1e-3),
    step: scalar(number),
    ...(step.inputNames.includes("penalty_weight") && { penalty_weight: scalar(0.1) }),
  });
  console.log(number, outputs.loss.data[0]);
  // What came out as `name.next` goes in as `name`.
  state = Object.fromEntries(Object.keys(state).map((name) => [name, outputs[`${name}.next`]]));
}
