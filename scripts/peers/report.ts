import { directionalLimit, gradientLimit, lossLimit, type PeerResult, type Status } from "./result.ts";

const kinds = ["script.eval", "script.train", "dynamo.eval", "dynamo.train"] as const;

/** The content of docs/peers.md: every architecture with its exports, then every export that is not a match, with the reason. */
export function reportOf(results: readonly PeerResult[]): string {
  const torch = results.filter(({ exporter }) => exporter === "script" || exporter === "dynamo");
  const others = results.filter((result) => !torch.includes(result));
  return `${[
    "# Gradients beside PyTorch's",
    `Written by \`npm run peers\`; all figures are in [results.jsonl](../scripts/peers/results.jsonl), each with the versions that made it.`,
    madeWith(results),
    method,
    "## Outcome",
    summary(torch, others),
    "## Architectures of PyTorch",
    legend,
    ...families(torch),
    "## Exports of other frameworks",
    othersIntroduction,
    othersTable(others),
    "## Named with the reason",
    ...reasons(results),
  ].join("\n\n")}\n`;
}

const method = `Every network has random weights and small inputs (no dropout, no stochastic depth). Its loss, the mean squared distance
of all outputs from random targets, is part of the export. PyTorch's gradients in float64 are the reference. The export
is differentiated by \`differentiate\` and the gradient graph runs on onnxruntime-node (CPU, float32). A parameter's
error is max |ours − float64| / max |float64|; the figures are the worst parameter's. PyTorch's own float32 gradients, measured
by the same figure, tell what float32 can give: ReLUs and poolings near a tie turn whole gradients, batch statistics of a
few samples amplify rounding.

- Parameters are recognised by their numbers, which occur once in a network, so it does not matter how an exporter
  renames, transposes, splits, joins or reorders them. A gradient of several initializers that hold one parameter is their sum.
- In inference mode exporters fold BatchNorm into the layer before it. Then PyTorch's gradients are those of the network folded the
  same way and in the same order of operations. What is folded in other ways is checked by a directional derivative (relative error up to ${directionalLimit}, which is what
  differences of float32 losses can show; more where a parameter hardly moves the loss and its rounding alone makes more). Where these fail, and for
  a parameter of which the exporter computed with only one of the places that read it, the differences are taken in float64.
- A network that calls \`detach\` is compared without: no file keeps it (\`--detach\` names such values).
- The dynamo exporter writes BatchNorm in inference form whatever the mode; such a file is compared with PyTorch in
  inference mode (marked †).
- A gradient below 1e-10 of the network's largest is zero in exact arithmetic (a bias before a BatchNorm with batch
  statistics). There is no size to divide by; what float32 makes of it must stay below 1e-4 of the largest gradient.`;

const legend = `A figure is the worst parameter's error. \`f32\`: above ${gradientLimit} in float32; the same gradient graph, run in float64 by onnx's
reference evaluator, agrees with PyTorch to the figure behind the stroke. \`folded\`: the exporter computed with some parameters, the file holds
the result; what it holds is right by directional derivative. Nodes, nodes of the gradient graph, and milliseconds of \`differentiate\`
beyond ONNX Runtime's probe are the largest of the four exports; parameters are PyTorch's (those that got a gradient / all).`;

const othersIntroduction = `There is no second source of gradients here: the figure is the relative distance of the directional derivative from
central differences of the loss in float32, over all parameters at once.`;

/** What made the rows before each held its versions. Which of the two versions of transformers made a row is not known. */
const before =
  "onnxruntime-node 1.30.0, torch 2.15.0, torchvision 0.29.2, timm 1.0.31, transformers 5.23.0 or 5.24.0, diffusers 0.42.1, effdet 0.4.1, torch_geometric 2.8.1, onnxscript 0.7.2, keras 3.15.1, skl2onnx 1.20.0";

/** The versions of the rows, each with the number of networks if not all of those that have versions were made with it. */
function madeWith(results: readonly PeerResult[]): string {
  const networks = new Map<string, Set<string>>();
  for (const { name, versions } of results) {
    for (const [part, version] of Object.entries(versions ?? {})) {
      const key = `${part} ${version}`;
      networks.set(key, (networks.get(key) ?? new Set()).add(name));
    }
  }
  const own = new Set(results.flatMap(({ name, versions }) => (versions ? [name] : [])));
  const parts = [...networks].map(([key, names]) =>
    names.size === own.size ? key : `${key} (${names.size})`,
  );
  const older = new Set(results.flatMap(({ name, versions }) => (versions ? [] : [name])));
  return [
    own.size > 0 && `${own.size} networks: ${parts.join(", ")}.`,
    older.size > 0 && `${older.size} networks, whose rows are older than the notes of versions: ${before}.`,
  ]
    .filter((line) => typeof line === "string")
    .join("\n");
}

function summary(torch: readonly PeerResult[], others: readonly PeerResult[]): string {
  const statuses: readonly Status[] = ["match", "float32", "folded", "differs", "refused", "no export"];
  const line = (name: string, results: readonly PeerResult[]) => {
    const names = new Set(results.map((result) => result.name)).size;
    const counts = statuses.map((status) => results.filter((result) => result.status === status).length);
    return `| ${[name, names, results.length, ...counts].join(" | ")} |`;
  };
  const group = (exporter: string, mode: string) =>
    torch.filter((result) => result.exporter === exporter && result.mode === mode);
  const families = new Set(torch.map(({ family }) => family));
  return [
    `${new Set(torch.map(({ name }) => name)).size} architectures of ${families.size} families. A match is within ${gradientLimit} for every parameter and ${lossLimit} for the loss.`,
    "",
    `| | architectures | exports | ${statuses.map(words).join(" | ")} |`,
    `|---|${"---:|".repeat(statuses.length + 2)}`,
    line("PyTorch, TorchScript exporter, eval", group("script", "eval")),
    line("PyTorch, TorchScript exporter, train", group("script", "train")),
    line("PyTorch, dynamo exporter, eval", group("dynamo", "eval")),
    line("PyTorch, dynamo exporter, train", group("dynamo", "train")),
    ...[...new Set(others.map(({ exporter }) => exporter))].map((exporter) =>
      line(
        exporter,
        others.filter((result) => result.exporter === exporter),
      ),
    ),
  ].join("\n");
}

function words(status: Status): string {
  if (status === "float32") return "match in float64 alone";
  return status === "folded" ? "parameters folded away" : status;
}

function families(results: readonly PeerResult[]): string[] {
  return [...new Set(results.map(({ family }) => family))].sort().map((family) => {
    const members = results.filter((result) => result.family === family);
    const names = [...new Set(members.map(({ name }) => name))];
    return [
      `### ${family[0]?.toUpperCase()}${family.slice(1)}`,
      "",
      "| | script, eval | script, train | dynamo, eval | dynamo, train | parameters | nodes | gradient | ms |",
      `|---|${"---:|".repeat(8)}`,
      ...names.map((name) => {
        const own = members.filter((result) => result.name === name);
        const cells = kinds.map((kind) =>
          cell(own.find(({ exporter, mode }) => `${exporter}.${mode}` === kind)),
        );
        const largest = (pick: (result: PeerResult) => number | undefined) =>
          Math.max(...own.map((result) => pick(result) ?? -1));
        const text = (number: number) => (number < 0 ? "–" : `${number}`);
        const compared = own.filter(({ parameters }) => parameters !== undefined);
        const covered = Math.min(...compared.map((result) => result.covered ?? 0));
        const all = compared[0]?.parameters;
        const figures = [
          ({ nodes }: PeerResult) => nodes,
          ({ gradientNodes }: PeerResult) => gradientNodes,
          ({ milliseconds }: PeerResult) => milliseconds,
        ];
        return `| ${[name, ...cells, all === undefined ? "–" : `${covered}/${all}`, ...figures.map((pick) => text(largest(pick)))].join(" | ")} |`;
      }),
    ].join("\n");
  });
}

function cell(result: PeerResult | undefined): string {
  if (!result) return "";
  const { status, error, float64Error, against, mode } = result;
  const mark = against && against !== mode ? "†" : "";
  if (status === "folded") return `folded${mark}`;
  if (status === "match") return `${scientific(error)}${mark}`;
  if (status === "float32") return `f32 ${scientific(error)} / ${scientific(float64Error)}${mark}`;
  return `**${status}**${mark}`;
}

function othersTable(results: readonly PeerResult[]): string {
  return [
    "| | exporter | outcome | parameters | directional error | nodes | gradient | ms |",
    "|---|---|---|---:|---:|---:|---:|---:|",
    ...results.map(
      ({ name, exporter, status, parameters, directionalError, nodes, gradientNodes, milliseconds }) => {
        const figures = [
          parameters,
          directionalError === undefined ? undefined : scientific(directionalError),
          nodes,
          gradientNodes,
          milliseconds,
        ];
        return `| ${[name, exporter, status, ...figures.map((figure) => figure ?? "–")].join(" | ")} |`;
      },
    ),
  ].join("\n");
}

/** Each status with its results; results with the same architecture and reason share a line. */
function reasons(results: readonly PeerResult[]): string[] {
  const headings: readonly (readonly [Status, string])[] = [
    ["differs", "Differs"],
    ["refused", "Refused by the tool"],
    ["float32", "Beyond the limit in float32, right in float64"],
    ["folded", "Parameters that the exporter computed with"],
    ["no export", "The exporter or ONNX Runtime fails"],
    ["match", "Remarks on matches"],
  ];
  return headings.flatMap(([status, heading]) => {
    const lines = new Map<string, string[]>();
    for (const result of results) {
      const text = result.status === status ? remark(result) : "";
      if (!text) continue;
      const key = `${result.name}\t${text}`;
      lines.set(key, [
        ...(lines.get(key) ?? []),
        result.mode ? `${result.exporter}, ${result.mode}` : result.exporter,
      ]);
    }
    if (lines.size === 0) return [];
    const list = [...lines].map(([key, where]) => {
      const [name, text = ""] = key.split("\t");
      return `- **${name}** (${where.join("; ")}): ${text.replace(/[<>*_|]/g, "\\$&")}`;
    });
    return [[`### ${heading}`, "", ...list].join("\n")];
  });
}

function remark({
  status,
  note,
  error,
  worst,
  pytorchError,
  lossError,
  zeroError,
  float64Error,
  directional,
  directionalError,
}: PeerResult): string {
  const figures: string[] = [];
  if (status === "differs" || status === "float32") {
    figures.push(
      `worst at ${worst}: ${scientific(error)}, PyTorch's float32 ${scientific(pytorchError)}, loss ${scientific(lossError)}`,
    );
    if (float64Error !== undefined) figures.push(`in float64 ${scientific(float64Error)}`);
    if (zeroError !== undefined) figures.push(`zeros ${scientific(zeroError)}`);
  }
  if (note) figures.push(note);
  if (directional) figures.push(`${directional} by directional derivative: ${scientific(directionalError)}`);
  return figures.join("; ");
}

/** A figure with one digit; JSON writes NaN and infinity as null. */
function scientific(number: number | null | undefined): string {
  if (number === null) return "not finite";
  return number === undefined ? "–" : number === 0 ? "0" : number.toExponential(0).replace("+", "");
}
