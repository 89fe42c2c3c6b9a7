/**
 * Time and peak memory of the commands on a model whose weights are 1 GB or more: in one file, and as external data.
 * Each command runs in a process of its own, from the built package.
 *
 * Run: npm run build && npx tsx bench/large-files.ts [--size 1024] [--external 2048] [--folder /tmp] [--output bench/results/large-files.json]
 * Sizes are in MiB. Needs three times the larger one in the folder and deletes everything afterwards.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { scriptArguments } from "../scripts/arguments.ts";
import { int } from "../src/graph/attribute.ts";
import { Emit } from "../src/graph/emit.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { writeFileSafely } from "../src/onnx/files-node.ts";
import { Model } from "../src/onnx/model.ts";
import { onnx } from "../src/onnx/schema.js";
import { Tensor } from "../src/onnx/tensor.ts";
import { machineDescription } from "./machine.ts";

const width = 4096;
const layerBytes = width * width * 4;

/** A stack of Gemms with 4096 units (64 MiB each); with `data`, their numbers lie in that file. */
async function writeStack(path: string, mebibytes: number, data?: string): Promise<void> {
  const layers = Math.round((mebibytes * 2 ** 20) / layerBytes);
  const numbers = Float32Array.from({ length: width * width }, (_, i) => ((i * 2654435761) % 1000) / 1e6);
  const g = new Emit(new Graph("large", new Map([["", 17]])), { prefix: "" });
  let x = g.graph.addInput("x", "float", [1, width]);
  for (let layer = 0; layer < layers; layer++) {
    const weight = g.graph.addInitializer(Tensor.of(`w${layer}`, "float", [width, width], numbers));
    const attributes = { transB: int(1) };
    x = g.op("Gemm", [x, weight], [1, width], { type: "float", name: `fc${layer}`, attributes });
  }
  g.graph.addOutput(x);
  const proto = graphToProto(g.graph, { irVersion: 8 });
  for (const value of [...(proto.graph?.input ?? []), ...(proto.graph?.output ?? [])]) {
    const dim = value.type?.tensorType?.shape?.dim?.[0];
    if (dim) Object.assign(dim, { dimValue: null, dimParam: "batch" });
  }
  if (data !== undefined) {
    const handle = await open(join(dirname(path), data), "wx");
    (proto.graph?.initializer ?? []).forEach((tensor, layer) => {
      const entries = { location: data, offset: layer * layerBytes, length: layerBytes };
      tensor.rawData = new Uint8Array();
      tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
      tensor.externalData = Object.entries(entries).map(
        ([key, value]) => new onnx.StringStringEntryProto({ key, value: `${value}` }),
      );
    });
    for (let layer = 0; layer < layers; layer++) await handle.write(new Uint8Array(numbers.buffer));
    await handle.sync();
    await handle.close();
  }
  await writeFileSafely(path, Model.fromProto(proto).chunks);
}

interface Run {
  readonly seconds: number;
  /** Peak resident memory in MiB. ONNX Runtime's mapped pages of external data count too. */
  readonly peak: number;
  readonly failed?: string;
}

/** Runs the built command line. @returns time, and the peak memory that Linux reports */
async function command(args: readonly string[]): Promise<Run> {
  const report =
    "process.on('exit', () => require('fs').writeSync(2, '\\npeak ' + process.resourceUsage().maxRSS))";
  const preload = `data:text/javascript,${encodeURIComponent(`import { createRequire } from "node:module"; const require = createRequire("file:///"); ${report}`)}`;
  const start = performance.now();
  const child = spawn(process.execPath, ["--import", preload, "./dist/node/cli.js", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const [code] = await once(child, "close");
  const seconds = (performance.now() - start) / 1000;
  const peak = Math.round(Number(/peak (\d+)/.exec(errors)?.[1] ?? Number.NaN) / 1024);
  return {
    seconds: Number(seconds.toFixed(2)),
    peak,
    ...(code !== 0 && { failed: errors.split("\n").find((line) => /error/i.test(line)) ?? errors }),
  };
}

const { values } = scriptArguments(import.meta.url, {
  options: {
    size: { type: "string", default: "1024" },
    external: { type: "string", default: "2048" },
    folder: { type: "string", default: tmpdir() },
    output: { type: "string" },
  },
});

const folder = await mkdtemp(join(values.folder, "sorth-large-"));
try {
  const results: Record<string, Record<string, Run>> = {};
  const forms = [
    { name: `one file, ${values.size} MiB`, mebibytes: Number(values.size), data: undefined },
    {
      name: `external data, ${values.external} MiB`,
      mebibytes: Number(values.external),
      data: "weights.bin",
    },
  ];
  for (const { name, mebibytes, data } of forms) {
    const own = join(folder, data ? "external" : "whole");
    await mkdir(own);
    const [model, injected] = [join(own, "large.onnx"), join(own, "large-sorth.onnx")];
    await writeStack(model, mebibytes, data);
    const copied = join(own, "copy");
    const start = performance.now();
    await copyFile(data ? join(own, data) : model, copied);
    const copy = { seconds: Number(((performance.now() - start) / 1000).toFixed(2)), peak: 0 };
    await rm(copied);
    const runs: Record<string, Run> = { copy };
    const tasks: Record<string, readonly string[]> = {
      inspect: ["inspect", model],
      inject: ["inject", model, "-o", injected],
      angles: ["angles", model],
      verify: ["verify", model, injected],
      strip: ["strip", injected, "-o", join(own, "stripped.onnx")],
      grad: [
        "grad",
        model,
        "--objective",
        "mse",
        "--wrt",
        "^w0$",
        "--batch",
        "1",
        "-o",
        join(own, "grad.onnx"),
      ],
      step: [
        "step",
        model,
        "--objective",
        "mse",
        "--batch",
        "4",
        "--trainable",
        "^w0$",
        "-o",
        join(own, "step.onnx"),
      ],
    };
    for (const [task, args] of Object.entries(tasks)) {
      runs[task] = await command(args);
      console.error(`${name} ${task}: ${JSON.stringify(runs[task])}`);
      const output = args[args.indexOf("-o") + 1];
      if (args.includes("-o") && task !== "inject") await rm(output ?? "", { force: true });
    }
    results[name] = runs;
    await rm(own, { recursive: true });
  }
  const { version } = JSON.parse(await readFile("node_modules/onnxruntime-node/package.json", "utf8"));
  const report = {
    date: new Date().toISOString().slice(0, 10),
    machine: machineDescription(),
    ...{ node: process.version, onnxruntime: version },
    results,
  };
  console.log(JSON.stringify(report, null, 2));
  if (values.output !== undefined) {
    await writeFileSafely(values.output, `${JSON.stringify(report, null, 2)}\n`, { force: true });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
