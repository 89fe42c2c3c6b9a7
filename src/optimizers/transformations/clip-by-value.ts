import { positive } from "../../numbers.ts";
import { defineTransformation } from "../define.ts";
import { alike, eachParameter } from "../each-parameter.ts";
import { Update } from "../update.ts";

/**
 * Every number of an update is cut to at most `maxValue` and at least −`maxValue`, as torch.nn.utils.clip_grad_value_ does.
 *
 * @example
 * chain(clipByValue(0.5), adamw());
 */
export const clipByValue = defineTransformation(
  {
    name: "clip-by-value",
    title: "Clip gradients by value",
    summary: "cut every number of a gradient to at most this size",
    defaults: {
      /** Above 0. */
      maxValue: 1,
    },
    ranges: { maxValue: positive },
    main: "maxValue",
    flag: "clip-value",
  },
  ({ maxValue }, own) =>
    eachParameter({
      ...own,
      treatment: alike,
      emit: (g, { update }) => {
        const direction = () => g.max(g.min(update.value(), maxValue), -maxValue);
        return { update: new Update(g, update.parameter, () => ({ direction })) };
      },
      compute: ({ update }) => ({
        update: update.map((value) => Math.max(Math.min(value, maxValue), -maxValue)),
      }),
    }),
);
