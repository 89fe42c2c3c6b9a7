import { InferenceSession, Tensor } from "onnxruntime-node";

const files = process.argv.slice(2);
const [gradients, update, initial] = await Promise.all(files.map((file) => InferenceSession.create(file)));
let state = await initial.run({});
const scalar = (value) => new Tensor("float32", Float32Array.of(value), []);
const own = new Set([...Object.keys(state), "labels", "penalty_weight"]);
const { name: data, shape: x } = gradients.inputMetadata.find(({ name }) => !own.has(name));
const pick = (names, ...from) =>
  Object.fromEntries(names.map((name) => [name, Object.assign({}, ...from)[name]]));

/** Gradients of one worker's share of the batch. */
async function work(worker) {
  const pixels = Float32Array.from({ length: x.reduce((a, b) => a * b) }, (_, i) => Math.sin(i + worker));
  const share = {
    [data]: new Tensor("float32", pixels, x),
    labels: new Tensor(
      "int32",
      Int32Array.from({ length: x[0] }, (_, i) => (i + worker) % 2),
      [x[0]],
    ),
    penalty_weight: scalar(0.1),
  };
  return gradients.run(pick(gradients.inputNames, state, share));
}

for (let number = 1; number <= 10; number++) {
  const results = [await work(0), await work(1)];
  const mean = {};
  for (const name of Object.keys(results[0]).filter((output) => output.endsWith(".grad"))) {
    const [a, b] = results.map((result) => result[name].data);
    mean[name] = new Tensor(
      "float32",
      a.map((value, i) => (value + b[i]) / 2),
      results[0][name].dims,
    );
  }
  const scalars = { learning_rate: scalar(1e-3), step: scalar(number) };
  const outputs = await update.run(pick(update.inputNames, state, mean, scalars));
  state = Object.fromEntries(
    Object.entries(state).map(([name, old]) => [
      name,
      outputs[`${name}.next`] ?? results[0][`${name}.next`] ?? old,
    ]),
  );
  console.log(number, (results[0].loss.data[0] + results[1].loss.data[0]) / 2);
}
