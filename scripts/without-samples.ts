import type { TsdownPlugin } from "tsdown";

/** A node of the syntax tree, as far as this plug-in looks at it. */
interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/**
 * Leaves the sample cases of the differentiation rules out of what is built: only tests and the table of operators read
 * them, and they are a sixth of the code. `samples: […]` of an object in src/autodiff/rules becomes `samples: []`.
 */
export function withoutSamples(): TsdownPlugin {
  return {
    name: "without-samples",
    transform: {
      filter: { id: /src\/autodiff\/rules\/.*\.ts$/ },
      handler(code) {
        const cuts: { start: number; end: number }[] = [];
        visit(this.parse(code, { lang: "ts" }) as unknown as SyntaxNode, (node) => {
          const { key, value, shorthand } = node as unknown as Record<string, SyntaxNode | undefined>;
          if (node.type !== "Property" || shorthand || key?.name !== "samples" || !value) return false;
          cuts.push(value);
          return true;
        });
        let kept = code;
        for (const { start, end } of cuts.reverse()) kept = `${kept.slice(0, start)}[]${kept.slice(end)}`;
        return { code: kept, moduleSideEffects: false };
      },
    },
  };
}

/** Walks a syntax tree; what `cut` returns true for is not entered. */
function visit(node: SyntaxNode, cut: (node: SyntaxNode) => boolean): void {
  if (cut(node)) return;
  for (const child of Object.values(node).flat()) {
    if (typeof child === "object" && child !== null && "type" in child) visit(child as SyntaxNode, cut);
  }
}
