import { type JaxNetwork, jax } from "./jax-page.ts";
import { helpers } from "./page.ts";

/** Folder of TensorFlow.js, which only this benchmark needs. */
export const tensorflowFolder = ".cache/tensorflow";

/** A page that trains: it is started once, then does steps on command. */
export interface BrowserContender {
  /** Name in the report. */
  readonly runtime: string;
  readonly device: "wasm" | "webgpu";
  /** Threads of WebAssembly. A page with one thread is not isolated, so that no library can start others. */
  readonly threads: number;
  readonly regularized: boolean;
  /** Body of the page, which defines `globalThis.start(job)` and `globalThis.step(): Promise<number>` (the loss). */
  readonly page: string;
}

/** This library: the Trainer, from the built web entry. */
const own = (device: string, threads: number, regularized: boolean) => `
<script type="importmap">
{ "imports": {
  "sorth-onnx/web": "/dist/web/index.js",
  "onnxruntime-web/webgpu": "/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"
} }
</script>
<script type="module">
  import { env } from "onnxruntime-web/webgpu";
  import { adamw, crossEntropy, readModel, som, Trainer } from "sorth-onnx/web";
  env.wasm.numThreads = ${threads};
  ${helpers}
  globalThis.start = async (job) => {
    const x = floats(job.x), labels = integers(job.labels);
    const trainer = await Trainer.create(await readModel(bytes(job.files.model)), {
      objective: crossEntropy(),
      optimizer: adamw({ weightDecay: 0 }),
      learningRate: job.learningRate,
      backend: "${device}",
      penalties: ${regularized} ? [{ penalty: som({ lambda1: 100 }), weight: job.penaltyWeight }] : [],
    });
    // Repeat the only batch, with its rows in order regardless of the requested indices.
    const data = {
      name: "batch", size: labels.length * 100000,
      x: { type: "float", shape: [job.features] }, y: { type: "integer", shape: [], classes: 10 },
      fill: (rows, xs, ys) => {
        for (let i = 0; i < rows.length; i += labels.length) { xs.set(x, i * job.features); ys.set(labels, i); }
      },
    };
    const events = trainer.fit(data);
    globalThis.step = async () => (await events.next()).value.loss;
  };
</script>`;

/** The training session of ONNX Runtime's last training release, on official artifacts, with SOM injected by this library. */
const official = `
<script type="module">
  import * as ort from "/node_modules/ort-web-training/dist/ort.training.wasm.min.mjs";
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  ${helpers}
  globalThis.start = async (job) => {
    const session = await ort.TrainingSession.create({
      checkpointState: bytes(job.files.checkpoint),
      trainModel: bytes(job.files.training),
      optimizerModel: bytes(job.files.optimizer),
    });
    const x = new ort.Tensor("float32", floats(job.x), [job.batch, job.features]);
    const labels = new ort.Tensor("int64", BigInt64Array.from(integers(job.labels), BigInt), [job.batch]);
    globalThis.step = async () => {
      const outputs = await session.runTrainStep({ x, labels });
      await session.runOptimizerStep();
      await session.lazyResetGrad();
      return outputs[session.trainingOutputNames[0]].data[0];
    };
  };
</script>`;

/** TensorFlow.js on its WebAssembly backend, with layers and SOM in its usual style. */
const tensorflow = (threads: number, regularized: boolean) => `
<script src="/${tensorflowFolder}/node_modules/@tensorflow/tfjs/dist/tf.min.js"></script>
<script src="/${tensorflowFolder}/node_modules/@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js"></script>
<script type="module">
  ${helpers}
  const { tf } = globalThis;
  globalThis.start = async (job) => {
    tf.wasm.setWasmPaths("/${tensorflowFolder}/node_modules/@tensorflow/tfjs-backend-wasm/dist/");
    tf.wasm.setThreadsCount(${threads});
    await tf.setBackend("wasm");
    await tf.ready();
    tf.disposeVariables();
    const variables = JSON.parse(job.files.weights).map(({ dims, data }) =>
      tf.variable(tf.tensor(floats(data), dims)));
    const x = tf.tensor2d(floats(job.x), [job.batch, job.features]);
    const classes = integers(job.labels);
    const labels = tf.tensor2d(Float32Array.from({ length: job.batch * 10 }, (_, i) =>
      classes[Math.floor(i / 10)] === i % 10 ? 1 : 0), [job.batch, 10]);
    const masks = new Map();
    const offDiagonal = (k) => {
      if (!masks.has(k)) masks.set(k, tf.keep(tf.tensor2d(Float32Array.from({ length: k * k }, (_, i) =>
        i % (k + 1) === 0 ? 0 : 1), [k, k])));
      return masks.get(k);
    };
    const { add, div, exp, log, matMul, mean, mul, neg, relu, square, sub, sum, tanh } = tf;
    const penaltyOf = (y) => {
      const t = tanh(mul(y, 10));
      const unit = div(t, tf.sqrt(add(sum(square(t), 0, true), 1e-6)));
      const k = y.shape[1], pairs = k * (k - 1);
      const off = mul(matMul(unit, unit, true), offDiagonal(k));
      return add(mul(square(div(sum(off), pairs)), 100), div(sum(square(off)), pairs));
    };
    const lossOf = () => {
      let h = x, penalty = tf.scalar(0);
      for (let i = 0; i < variables.length; i += 2) {
        h = add(matMul(i === 0 ? h : relu(h), variables[i], false, true), variables[i + 1]);
        if (${regularized}) penalty = add(penalty, penaltyOf(h));
      }
      const logits = sub(h, log(sum(exp(h), 1, true)));
      const loss = neg(mean(sum(mul(logits, labels), 1)));
      return ${regularized} ? add(loss, mul(penalty, job.penaltyWeight)) : loss;
    };
    const optimizer = tf.train.adam(job.learningRate, 0.9, 0.999, 1e-8);
    globalThis.step = async () => {
      const loss = optimizer.minimize(lossOf, true, variables);
      const value = (await loss.data())[0];
      loss.dispose();
      return value;
    };
  };
</script>`;

/** All contenders, ours first. */
export const contenders: readonly BrowserContender[] = [false, true].flatMap((regularized) => {
  const wasm = { device: "wasm", regularized } as const;
  const webgpu = { device: "webgpu", threads: 1, regularized } as const;
  const jaxNames = { own: "jax-js", onnx: "jax-js, its ONNX loader" };
  const onJax = (network: JaxNetwork) => [
    ...[1, 2].map((threads) => ({
      ...wasm,
      ...{ runtime: jaxNames[network], threads, page: jax("wasm", network, regularized) },
    })),
    { ...webgpu, runtime: jaxNames[network], page: jax("webgpu", network, regularized) },
  ];
  return [
    ...[1, 2].map((threads) => ({
      ...wasm,
      ...{ runtime: "sorth-onnx", threads, page: own("wasm", threads, regularized) },
    })),
    { ...webgpu, runtime: "sorth-onnx", page: own("webgpu", 1, regularized) },
    { ...wasm, runtime: "onnxruntime-web 1.19.2 training", threads: 1, page: official },
    ...onJax("own"),
    ...onJax("onnx"),
    ...[1, 2].map((threads) => ({
      ...wasm,
      ...{ runtime: "TensorFlow.js", threads, page: tensorflow(threads, regularized) },
    })),
  ];
});
