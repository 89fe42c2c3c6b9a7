import { withFrozenVectors } from "../src/adapters/frozen-vectors.ts";
import {
  adapterOf,
  addAdapters,
  buildStep,
  crossEntropy,
  type Model,
  type PenaltyPlan,
  sgd,
} from "../src/index.ts";
import { writtenOut } from "../src/passes/backends/missing/table.ts";
import type { BackendName } from "../src/passes/backends/names.ts";
import { offDevice, onCpu } from "../src/passes/backends/off-device.ts";
import { allPenaltyDefinitions } from "../src/penalties/adapters/table.ts";
import { subjectOf } from "../src/penalties/applies.ts";
import type { PenaltyDefinition, PenaltyOptions } from "../src/penalties/penalty.ts";
import { penaltyNames } from "../src/penalties/table.ts";
import { parsePlan } from "../src/penalties/text.ts";
import { nodeProbe } from "../src/runtime/probe-node.ts";
import { smallNetwork, trainedPenalties } from "../test/penalties/small-network.ts";

type Definition = PenaltyDefinition<PenaltyOptions>;

const preface = `# Penalties

Generated from the definitions in src/penalties (\`npm run docs:penalties\`); a test holds it against the code.

Every penalty is one number for each layer that it applies to; the loss gets the weighted sum over layers and penalties. W is a layer's weight matrix with one row per
unit (k rows of d numbers; for a convolution the flattened kernels), cᵢⱼ is the cosine of rows i and j, and Y are the layer's responses before normalization and activation,
with one row per sample and position. A grouped layer gets the mean over its groups. Depthwise layers and layers with one unit have no pairs, and so no penalty. A penalty on
weights counts a weight that several layers share once.

## How to use one

    sorth-onnx train model.onnx --data mnist --penalty so -o trained.onnx
    sorth-onnx inject model.onnx --penalty "som:gamma=5,weight=0.1,include=^fc" --penalty "so:weight=0.01,schedule=cosine" -o injected.onnx

In the library \`penalties: [{ penalty: som({ gamma: 5 }), weight: 0.1, include: /^fc/ }, { penalty: so(), weight: 0.01, schedule: "cosine" }]\`. Besides its own options, each penalty takes:

| key | default | |
|---|---|---|
| weight | the penalty's default below, or 1 | its factor in the loss |
| include, exclude | all layers | regular expressions on the layers' names |
| preset | none | a named set of options and weight, for penalties that have one: \`som:preset=source\` |
| schedule | constant | how \`train\` changes the weight over a run, below; put a value with commas in quotes: \`schedule='cosine:warmup=100,floor=0.1'\` |

\`sorth-onnx train --help\` also lists the penalties. The same penalty may be given several times, for different layers. How to write your own penalty: [examples/12-own-penalty](../examples/12-own-penalty/README.md).

[cli.md](cli.md#schedules) lists the schedules.
`;

const behind = `Weight: the default, which is the weight of the penalty's source, or 1 if the source names none; for som, a weight that proved safe on every layer in experiments. Backends: whether a
step with the penalty runs entirely there. Tests cover the CPU, wasm in Chromium, and WebGPU in node and in Chromium for each penalty on layers (test/penalties, test/runtime, test/browser);
the entries for CUDA follow from the table of operators that it lacks ([backends.md](backends.md)). training_model.onnx: whether ONNX Runtime's training API trains the penalty, in
an injected training_model.onnx or in artifacts of sorth-onnx. Penalties that draw random numbers at each epoch or step are refused there; injected into a model, such numbers are
constants. Penalties on adapters belong to \`train --lora\` ([fine-tuning.md](fine-tuning.md#penalties-on-adapters)). The official Python builder also differentiates every injected penalty ([official.md](official.md)).
`;

/** Whether a penalty acts on adapters rather than on the layers of any model. */
const isOnAdapters = ({ name }: Definition) => !penaltyNames.includes(name);

const layersOf = (definition: Definition) =>
  isOnAdapters(definition) ? "with LoRA or DoRA" : (definition.ops?.join(", ") ?? "all");

/** What a penalty acts on (weights or responses), and the options with which it acts on the other. */
function looksAt(definition: Definition, forms: readonly (readonly [string, Measured])[]): string {
  if (isOnAdapters(definition)) return "A and B of adapters";
  const { on, defaults } = definition;
  if (typeof on !== "function") return on;
  const other = forms
    .map(([text]) => text)
    .filter((text) => subjectOf(parsePlan(text).penalty) !== on(defaults));
  const otherwise = on(defaults) === "weights" ? "responses" : "weights";
  return `${on(defaults)}; ${otherwise} with ${other.map(optionOf).join(" or ")}`;
}

/** Properties of a penalty, found in the training step of a small network. */
interface Measured {
  /** Operators of the step that are due to the penalty. */
  readonly operators: ReadonlySet<string>;
  /** How often it draws new random numbers. */
  readonly anew: "epoch" | "step" | undefined;
}

async function measured(text: string, plain: ReadonlySet<string>): Promise<Measured> {
  const plans = [parsePlan(text)];
  const { model, ports } = await (onAdapters.has(text) ? adaptedStep(plans) : stepOf(plans));
  const anew = ports.draws[0]?.anew;
  const operators = new Set([...operatorsOf(model)].filter((op) => !plain.has(op)));
  return { operators, anew };
}

const stepOf = (penalties: readonly PenaltyPlan[]) =>
  buildStep(smallNetwork(), { objective: crossEntropy(), optimizer: sgd(), batch: 6, penalties });

/** The step of the small network with adapters, an earlier one of which is any file. */
async function adaptedStep(plans: readonly PenaltyPlan[]) {
  const model = await addAdapters(smallNetwork(), { rank: 2, include: /^m/ });
  const penalties = await withFrozenVectors(model, plans, { read: () => adapterOf(model), probe: nodeProbe });
  return buildStep(model, { objective: crossEntropy(), optimizer: sgd(), batch: 6, penalties });
}

/** Penalties on adapters, with an option of each without which it does nothing. */
const onAdapters = new Set(["o-lora:adapter=FILE", "oplora:rank=2", "adalora"]);

const operatorsOf = ({ proto }: Model): Set<string> =>
  new Set((proto.graph?.node ?? []).map(({ opType }) => opType ?? ""));

/** "yes", or the operators that do not run there. */
function runsOn(backend: BackendName, { operators }: Measured): string {
  const off = [...operators].filter((op) => offDevice[backend][op] === onCpu && !writtenOut[op]);
  return off.length === 0 ? "yes" : `${off.join(", ")}: ${onCpu}`;
}

/** The content of `docs/penalties.md`: all penalties in Markdown. */
export async function penaltiesTable(): Promise<string> {
  const plain = operatorsOf((await stepOf([])).model);
  const forms = new Map<string, Measured>();
  for (const text of [...trainedPenalties, ...onAdapters]) forms.set(text, await measured(text, plain));
  const formsOf = ({ name }: Definition) =>
    [...forms].filter(([text]) => text === name || text.startsWith(`${name}:`));
  const backends = ["cpu", "wasm", "webgpu", "cuda"] as const;
  const on = (definition: Definition, backend: BackendName) => {
    const found = [...new Set(formsOf(definition).map(([, form]) => runsOn(backend, form)))];
    return found.filter((text) => text !== "yes").join("; ") || "yes";
  };
  const inArtifacts = (definition: Definition) => {
    if (isOnAdapters(definition)) return "no";
    const refused = formsOf(definition).filter(([, { anew }]) => anew);
    if (refused.length === 0) return "yes";
    return refused.length === formsOf(definition).length
      ? "no"
      : `not with ${refused.map(([text]) => optionOf(text)).join(" or ")}`;
  };
  return [
    preface,
    "## All penalties",
    "",
    `| penalty | | acts on | weight | layers | ${backends.join(" | ")} | training_model.onnx |`,
    `|---|---|---|---|---|${"---|".repeat(backends.length)}---|`,
    ...allPenaltyDefinitions.map((definition) => {
      const { name, summary, weight } = definition;
      const cells = [
        ...[
          `[${name}](#${name})`,
          summary,
          looksAt(definition, formsOf(definition)),
          weight ?? 1,
          layersOf(definition),
        ],
        ...[...backends.map((backend) => on(definition, backend)), inArtifacts(definition)],
      ];
      return `| ${cells.join(" | ")} |`;
    }),
    "",
    behind,
    ...allPenaltyDefinitions.flatMap((definition) => section(definition, formsOf(definition))),
  ].join("\n");
}

/** The first option of a form: `rows=random` of `som:rows=random,directions=16`. */
const optionOf = (text: string): string => /:([^,]*)/.exec(text)?.[1] ?? text;

function section(
  { name, formula, source, defaults, about, choices, presets = {} }: Definition,
  forms: readonly (readonly [string, Measured])[],
): string[] {
  const drawing = forms.find(([, form]) => form.anew);
  const when = drawing?.[0].includes(":") ? `With ${optionOf(drawing[0])}, random` : "Random";
  const options = Object.entries(defaults);
  return [
    `### ${name}`,
    "",
    `R = ${formula}`,
    "",
    `Source: ${source}.`,
    ...(drawing ? ["", `${when} numbers are drawn for each ${drawing[1].anew} from the run's seed.`] : []),
    "",
    ...(options.length === 0
      ? []
      : [
          "| option | default | |",
          "|---|---|---|",
          ...options.map(([option, value]) => {
            const others = choices?.[option];
            const text = about?.[option] ?? "";
            return `| ${option} | ${value}${others ? ` (of ${others.join(", ")})` : ""} | ${text} |`;
          }),
          "",
        ]),
    ...Object.entries(presets).flatMap(([preset, values]) => {
      const said = Object.entries(values).map(([option, value]) => `${option}=${value}`);
      return [`\`${name}:preset=${preset}\` stands for \`${said.join(",")}\`.`, ""];
    }),
  ];
}
