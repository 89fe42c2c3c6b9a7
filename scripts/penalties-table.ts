import { buildStep, crossEntropy, type Model, type PenaltyPlan, sgd } from "../src/index.ts";
import { onCpu } from "../src/passes/backends/off-device.ts";
import { type BackendName, offDevice } from "../src/passes/backends/table.ts";
import { type PenaltyDefinition, type PenaltyOptions, subjectOf } from "../src/penalties/penalty.ts";
import { penaltyDefinitions } from "../src/penalties/table.ts";
import { parsePlan } from "../src/penalties/text.ts";
import { smallNetwork, trainedPenalties } from "../test/penalties/small-network.ts";

type Definition = PenaltyDefinition<PenaltyOptions>;

const preface = `# Penalties

Generated from the definitions in src/penalties (\`npm run docs:penalties\`); a test holds it against the code.

Every penalty is one number for each layer that it takes; the loss gets the weighted sum over layers and penalties. W is a layer's weight matrix, one row a unit
(k of them, d numbers each; of a convolution the flattened kernels), cᵢⱼ the cosine of rows i and j, Y its responses before normalization and activation, one row a
sample and position. Grouped layers: the mean over their groups. Depthwise layers and layers of one unit have no pairs and get none. A penalty on weights acts once on a
weight that several layers share.

## How to ask for one

    sorth-onnx train model.onnx --data mnist --penalty so -o trained.onnx
    sorth-onnx inject model.onnx --penalty "som:gamma=5,weight=0.1,include=^conv" --penalty "so:weight=0.01,schedule=cosine" -o injected.onnx

In the library \`penalties: [{ penalty: som({ gamma: 5 }), weight: 0.1, include: /^conv/ }, { penalty: so(), weight: 0.01, schedule: "cosine" }]\`. Besides its own options each takes:

| key | default | |
|---|---|---|
| weight | the penalty's own, below; 1 where it has none | its factor in the loss |
| include, exclude | all layers | regular expressions on the layers' names |
| preset | none | options and weight under one name, where a penalty has such: \`som:preset=source\` |
| schedule | constant | of its weight over a run that \`train\` does: cosine, warmup, step, srip; a value with commas stands in quotes: \`schedule='cosine:warmup=100,floor=0.1'\` |

\`sorth-onnx train --help\` lists them too. The same penalty may be given again for other layers. A penalty of your own: [examples/12-own-penalty](../examples/12-own-penalty/README.md).
`;

const behind = `Weight: what its source uses, 1 where that has none; of som what experiments show safe on every layer. Backends: where a step with the penalty runs whole. The CPU, wasm in Chromium, WebGPU in node and in Chromium are tested
for each (test/penalties, test/runtime, test/browser); CUDA is read from the table of what it lacks ([backends.md](backends.md)). training_model.onnx: whether ONNX
Runtime's training API trains it, from an injected training_model.onnx or our artifacts; what draws random numbers at each epoch or step is refused there. Injected into a
model, such numbers are constants. The official Python builder differentiates every injected penalty too ([official.md](official.md)).
`;

const layersOf = ({ ops }: Definition) => ops?.join(", ") ?? "all";

/** What it looks at, and with which options at the other. */
function looksAt({ on, defaults }: Definition, forms: readonly (readonly [string, Measured])[]): string {
  if (typeof on !== "function") return on;
  const other = forms
    .map(([text]) => text)
    .filter((text) => subjectOf(parsePlan(text).penalty) !== on(defaults));
  const otherwise = on(defaults) === "weights" ? "responses" : "weights";
  return `${on(defaults)}; ${otherwise} with ${other.map(optionOf).join(" or ")}`;
}

/** What the steps of a network with a penalty say of it. */
interface Measured {
  /** Operators that only the penalty's part of the step has. */
  readonly operators: ReadonlySet<string>;
  /** When it draws random numbers anew. */
  readonly anew: "epoch" | "step" | undefined;
}

async function measured(text: string, plain: ReadonlySet<string>): Promise<Measured> {
  const { model, ports } = await stepOf([parsePlan(text)]);
  const anew = ports.draws[0]?.anew;
  const operators = new Set([...operatorsOf(model)].filter((op) => !plain.has(op)));
  return { operators, anew };
}

const stepOf = (penalties: readonly PenaltyPlan[]) =>
  buildStep(smallNetwork(), { objective: crossEntropy(), optimizer: sgd(), batch: 6, penalties });

const operatorsOf = ({ proto }: Model): Set<string> =>
  new Set((proto.graph?.node ?? []).map(({ opType }) => opType ?? ""));

/** "yes", or the operators that do not run there. */
function runsOn(backend: BackendName, { operators }: Measured): string {
  const off = [...operators].filter((op) => offDevice[backend][op] === onCpu);
  return off.length === 0 ? "yes" : `${off.join(", ")}: ${onCpu}`;
}

/** The penalties in Markdown: what `docs/penalties.md` holds. */
export async function penaltiesTable(): Promise<string> {
  const plain = operatorsOf((await stepOf([])).model);
  const forms = new Map<string, Measured>();
  for (const text of trainedPenalties) forms.set(text, await measured(text, plain));
  const formsOf = ({ name }: Definition) =>
    [...forms].filter(([text]) => text === name || text.startsWith(`${name}:`));
  const backends = ["cpu", "wasm", "webgpu", "cuda"] as const;
  const on = (definition: Definition, backend: BackendName) => {
    const found = [...new Set(formsOf(definition).map(([, form]) => runsOn(backend, form)))];
    return found.filter((text) => text !== "yes").join("; ") || "yes";
  };
  const inArtifacts = (definition: Definition) => {
    const refused = formsOf(definition).filter(([, { anew }]) => anew);
    if (refused.length === 0) return "yes";
    return refused.length === formsOf(definition).length
      ? "no"
      : `not with ${refused.map(([text]) => optionOf(text)).join(" or ")}`;
  };
  return [
    preface,
    "## All of them",
    "",
    `| penalty | | looks at | weight | layers | ${backends.join(" | ")} | training_model.onnx |`,
    `|---|---|---|---|---|${"---|".repeat(backends.length)}---|`,
    ...penaltyDefinitions.map((definition) => {
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
    ...penaltyDefinitions.flatMap((definition) => section(definition, formsOf(definition))),
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
    ...(drawing ? ["", `${when} numbers are drawn anew each ${drawing[1].anew} from the run's seed.`] : []),
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
