import type { RuleTable } from "../rule.ts";
import { gru } from "./recurrent/gru.ts";
import { lstm } from "./recurrent/lstm.ts";
import { rnn } from "./recurrent/rnn.ts";
import { gruSamples, lstmSamples, rnnSamples } from "./recurrent/samples.ts";

/**
 * Rules of the recurrent operators. The forward node stays as it is. The gradient recomputes the gates of all steps from
 * the node's hidden states, walks back over the steps once, and computes each weight's gradient with one product over all
 * steps. Weights are W: [D, gates·H, features], R: [D, gates·H, H], B: [D, 2·gates·H] for D directions.
 */
export const recurrent = {
  RNN: { vjp: rnn, samples: rnnSamples },
  GRU: { vjp: gru, samples: gruSamples },
  LSTM: { vjp: lstm, samples: lstmSamples },
} satisfies RuleTable;
