import { helpers } from "./page.ts";

/** Folder of the packages of jax-js, which only this benchmark needs. */
export const jaxFolder = ".cache/jax-js";

/** The packages of jax-js by name, with the versions that are compared. */
export const jaxPackages = { "@jax-js/jax": "0.1.25", "@jax-js/onnx": "0.1.2" } as const;

/** How a jax-js contender gets its network: written with its operators, or read from the ONNX file by its loader. */
export type JaxNetwork = "own" | "onnx";

/**
 * jax-js with the whole training step in one jit: forward, gradients of its autodiff and AdamW without decay. Its ONNX loader keeps
 * initializers as constants, which get no gradient, so the file for it has the weights as inputs.
 */
export const jax = (device: string, network: JaxNetwork, regularized: boolean): string => `
<script type="importmap">
{ "imports": {
  "@jax-js/jax": "/${jaxFolder}/node_modules/@jax-js/jax/dist/index.js",
  "@jax-js/onnx": "/${jaxFolder}/node_modules/@jax-js/onnx/dist/index.js",
  "@bufbuild/protobuf": "/${jaxFolder}/node_modules/@bufbuild/protobuf/dist/esm/index.js",
  "@bufbuild/protobuf/codegenv2": "/${jaxFolder}/node_modules/@bufbuild/protobuf/dist/esm/codegenv2/index.js",
  "onnx-buf": "/${jaxFolder}/node_modules/onnx-buf/dist/onnx_pb.js"
} }
</script>
<script type="module">
  import { defaultDevice, init, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
  import { ONNXModel } from "@jax-js/onnx";
  ${helpers}
  // Every use of an array but the last takes a reference of it.
  const som = (y) => {
    const t = np.tanh(y.mul(10));
    const unit = t.ref.div(np.sqrt(np.square(t).sum(0, { keepdims: true }).add(1e-6)));
    const k = unit.shape[1], pairs = k * (k - 1);
    const off = np.matmul(unit.ref.transpose(), unit).mul(np.eye(k).mul(-1).add(1));
    return np.square(off.ref.sum().div(pairs)).mul(100).add(np.square(off).sum().div(pairs));
  };
  const written = (p, x) => {
    const responses = [];
    for (let i = 0; i < p.length; i += 2) {
      x = np.matmul(i > 0 ? nn.relu(x) : x, p[i].transpose()).add(p[i + 1]);
      responses.push(x.ref);
    }
    return { logits: x, responses };
  };
  const loaded = (job) => {
    const model = new ONNXModel(bytes(job.files.weightsAsInputs));
    const names = JSON.parse(job.files.names);
    return (p, x) => {
      const inputs = Object.fromEntries(names.weights.map((name, i) => [name, p[i]]));
      const outputs = model.run({ x, ...inputs }, { additionalOutputs: names.responses });
      const all = names.responses.map((name) => outputs[name]);
      return { logits: outputs[names.responses.at(-1)].ref, responses: all };
    };
  };
  const adam = (p, m, v, g, c1, c2, rate) => {
    const first = m.mul(0.9).add(g.ref.mul(0.1));
    const second = v.mul(0.999).add(np.square(g).mul(0.001));
    const change = first.ref.div(c1).div(np.sqrt(second.ref.div(c2)).add(1e-8));
    return [p.sub(change.mul(rate)), first, second];
  };
  globalThis.start = async (job) => {
    const devices = await init("${device}");
    if (!devices.includes("${device}")) throw new Error("jax-js has no device ${device} here, only " + devices);
    defaultDevice("${device}");
    const network = ${network === "own" ? "written" : "loaded(job)"};
    const lossOf = (p, x, labels) => {
      const { logits, responses } = network(p, x);
      let loss = nn.logSoftmax(logits).mul(labels).sum().mul(-1 / job.batch);
      for (const y of responses) {
        if (${regularized}) loss = loss.add(som(y).mul(job.penaltyWeight));
        else y.dispose();
      }
      return loss;
    };
    const trainStep = jit((p, m, v, x, labels, c1, c2) => {
      const [loss, g] = valueAndGrad(lossOf)(p.map((one) => one.ref), x, labels);
      const all = p.map((one, i) => adam(one, m[i], v[i], g[i], c1.ref, c2.ref, job.learningRate));
      c1.dispose();
      c2.dispose();
      return [loss, [0, 1, 2].map((part) => all.map((one) => one[part]))];
    });
    const x = np.array(floats(job.x), { shape: [job.batch, job.features] });
    const labels = nn.oneHot(np.array(integers(job.labels)), 10);
    const weights = JSON.parse(job.files.weights);
    const zeros = () => weights.map(({ dims }) => np.zeros(dims));
    let state = [weights.map(({ dims, data }) => np.array(floats(data), { shape: dims })), zeros(), zeros()];
    let steps = 0;
    globalThis.step = async () => {
      steps += 1;
      const corrections = [0.9, 0.999].map((beta) => np.array(1 - beta ** steps));
      const [loss, next] = trainStep(...state, x.ref, labels.ref, ...corrections);
      state = next;
      return (await loss.data())[0];
    };
  };
</script>`;
