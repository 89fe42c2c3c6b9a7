import type { TsdownPlugin } from "tsdown";

/** A node of the syntax tree, as far as this plug-in looks at it. */
interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** Properties of objects in some files. */
interface Cut {
  readonly name: string;
  readonly files: RegExp;
  readonly properties: readonly string[];
  /** Code in the place of their values; left out, the properties go as a whole. */
  readonly value?: string;
}

/**
 * Leaves the sample cases of the differentiation rules out of what is built: only tests and the table of operators read
 * them, and they are a sixth of the code. `samples: […]` of an object in src/autodiff/rules becomes `samples: []`.
 */
export function withoutSamples(): TsdownPlugin {
  return cut({
    ...{ name: "without-samples", files: /src\/autodiff\/rules\/.*\.ts$/ },
    ...{ properties: ["samples"], value: "[]" },
  });
}

/** Leaves what documents say about penalties (docs/penalties.md) out of what browsers load. */
export function withoutPenaltyTexts(): TsdownPlugin {
  return cut({
    ...{ name: "without-penalty-texts", files: /src\/penalties\/.*\.ts$/ },
    properties: ["summary", "formula", "source", "about"],
  });
}

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

/** The place behind a comma that follows. */
const behindComma = (code: string, end: number): number =>
  end + (/^\s*,/.exec(code.slice(end))?.[0].length ?? 0);

/** Walks a syntax tree; what `cut` returns true for is not entered. */
function visit(node: SyntaxNode, cut: (node: SyntaxNode) => boolean): void {
  if (cut(node)) return;
  for (const child of Object.values(node).flat()) {
    if (typeof child === "object" && child !== null && "type" in child) visit(child as SyntaxNode, cut);
  }
}
