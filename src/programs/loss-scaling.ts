import { SorthError } from "../errors.ts";
import { type Typed, typed } from "../graph/emit-base.ts";
import { keepFinite, type LossScaleOptions, lossScaleSlots, scaleLoss } from "../optimizers/loss-scale.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import type { NextStatistic } from "../passes/training/batch-norm.ts";
import type { LossGraph } from "./loss-graph.ts";
import type { HalfPrecision } from "./precision.ts";
import type { Program } from "./program.ts";
import type { StepPorts } from "./step-ports.ts";
import type { UpdatePorts } from "./update.ts";

/** The scale of the loss of a step: multiplied into what enters the backward pass, divided out before the optimizer. */
export class LossScaling {
  readonly #program: Program;
  readonly #options: LossScaleOptions;
  /** The input for the scale. */
  readonly #scale: Typed;

  constructor(program: Program, options: LossScaleOptions) {
    this.#program = program;
    this.#options = options;
    this.#scale = program.input(lossScaleSlots.scale, "float", []);
  }

  /** The loss, whose gradients are multiplied by the scale. */
  scaled({ seeds }: Pick<LossGraph, "seeds">): Pick<LossGraph, "seeds"> {
    const { emit } = this.#program;
    return {
      seeds: seeds.map(({ value, gradient }) => ({
        value,
        gradient: () => emit.mul(gradient(), emit.cast(this.#scale, typed(value).type)),
      })),
    };
  }

  /** The optimizer, behind the division by the scale. */
  around = (optimizer: GradientTransformation): GradientTransformation => scaleLoss(this.#options, optimizer);

  /** The input for the scale, which the optimizer reads too. */
  get known(): { readonly slots: ReadonlyMap<string, Typed> } {
    return { slots: new Map([[lossScaleSlots.scale, this.#scale]]) };
  }

  /** The same input in the second graph of a split step. */
  inputIn(program: Program): LossScaling["known"] {
    return { slots: new Map([[lossScaleSlots.scale, program.input(this.#scale.name, "float", [])]]) };
  }

  /** Running statistics that a forward pass which overflowed leaves as they were. */
  finite(statistics: readonly NextStatistic[]): NextStatistic[] {
    const { emit } = this.#program;
    return statistics.map((statistic) => {
      const { input, next } = statistic;
      return { ...statistic, next: keepFinite(emit, next, typed(input)) };
    });
  }

  /** Adds the outputs that tell a loop whether the update was left out. */
  figures(program: Program, { shared = [] }: UpdatePorts): Pick<StepPorts, "scaling"> {
    const { graph, emit } = program;
    const port = (slot: string) => {
      const found = shared.find(({ name }) => name === slot);
      if (!found) throw new SorthError(`the step has no state "${slot}"`);
      return found;
    };
    const [scale, skipped] = [port(lossScaleSlots.scale), port(lossScaleSlots.skipped)];
    const [before, next] = [skipped.input, skipped.output].map((name) => typed(graph.valueNamed(name)));
    return {
      scaling: {
        scale: program.output(emit.identity(graph.valueNamed(scale.input)), `${lossScaleSlots.scale}.used`)
          .name,
        skipped: program.output(emit.sub(next as Typed, before as Typed), "skipped").name,
      },
    };
  }
}

/**
 * The scale of a step's loss; undefined for a type that needs none.
 * @throws SorthError for a loss in float64, whose gradients float16 would round
 */
export function lossScaling(
  program: Program,
  { total }: LossGraph,
  { scaling }: HalfPrecision,
): LossScaling | undefined {
  if (total.type === "double") {
    throw new SorthError(
      "mixed precision is for float32 and float16 models: the loss of this one is float64 (leave out --precision, or export the model in float32)",
    );
  }
  return scaling && new LossScaling(program, scaling);
}
