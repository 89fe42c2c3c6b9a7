import type { TsdownPlugin } from "tsdown";

/** The parts of a syntax tree node that this plug-in reads. */
interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** Object properties to cut in some files. */
interface Cut {
  readonly name: string;
  readonly files: RegExp;
  readonly properties: readonly string[];
  /** Code that replaces their values; by default, the properties are removed. */
  readonly value?: string;
}

/**
 * Removes the sample cases of the differentiation rules from the build: only tests and the table of operators read them, and
 * they are a sixth of the code. `samples: […]` of an object in src/autodiff/rules becomes `samples: []`.
 */
export function withoutSamples(): TsdownPlugin {
  return cut({
    ...{ name: "without-samples", files: /src\/autodiff\/rules\/.*\.ts$/ },
    ...{ properties: ["samples"], value: "[]" },
  });
}

/** Removes the texts for documents (docs/penalties.md, docs/backends.md) and for the command line from the build for browsers. */
export const withoutTexts = (): TsdownPlugin[] => [
  cut({
    ...{ name: "without-penalty-texts", files: /src\/penalties\/.*\.ts$/ },
    properties: ["summary", "formula", "source", "about"],
  }),
  cut({
    ...{ name: "without-schedule-texts", files: /src\/schedules\/.*\.ts$/ },
    properties: ["summary"],
  }),
  cut({
    ...{ name: "without-help", files: /src\/(losses|metrics|optimizers|schedules)\/.*\.ts$/ },
    properties: ["summary", "about"],
  }),
  cut({
    ...{ name: "without-form-texts", files: /src\/passes\/backends\/table\.ts$/ },
    properties: ["change", "why"],
  }),
];

function cut({ name, files, properties, value: replacement }: Cut): TsdownPlugin {
  return {
    name,
    transform: {
      filter: { id: files },
      handler(code) {
        const cuts: { start: number; end: number }[] = [];
        visit(this.parse(code, { lang: "ts" }) as unknown as SyntaxNode, (node) => {
          const { key, value, shorthand } = node as unknown as Record<string, SyntaxNode | undefined>;
          if (node.type !== "Property" || shorthand || !value) return false;
          if (!properties.includes(String(key?.name))) return false;
          cuts.push(
            replacement === undefined ? { start: node.start, end: behindComma(code, node.end) } : value,
          );
          return true;
        });
        let kept = code;
        for (const { start, end } of cuts.reverse()) {
          kept = `${kept.slice(0, start)}${replacement ?? ""}${kept.slice(end)}`;
        }
        return { code: kept, moduleSideEffects: false };
      },
    },
  };
}

/** The position after a following comma, if there is one. */
const behindComma = (code: string, end: number): number =>
  end + (/^\s*,/.exec(code.slice(end))?.[0].length ?? 0);

/** Walks a syntax tree, without entering nodes for which `cut` returns true. */
function visit(node: SyntaxNode, cut: (node: SyntaxNode) => boolean): void {
  if (cut(node)) return;
  for (const child of Object.values(node).flat()) {
    if (typeof child === "object" && child !== null && "type" in child) visit(child as SyntaxNode, cut);
  }
}
