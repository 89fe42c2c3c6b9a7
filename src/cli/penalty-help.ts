import { type Command, Help } from "commander";
import { penaltyDefinitions } from "../penalties/table.ts";

/** Adds the list of penalties, with their options and defaults, to a command's help. */
export function addPenaltyHelp(command: Command): void {
  command.configureHelp({
    formatHelp: (shown, helper) =>
      `${Help.prototype.formatHelp.call(helper, shown, helper)}\n${penaltyList(shown, helper)}`,
  });
}

function penaltyList(command: Command, helper: Help): string {
  const width = helper.padWidth(command, helper);
  const items = penaltyDefinitions.map(({ name, summary = "", weight = 1, defaults }) => {
    const options = Object.entries(defaults).map(([option, value]) => `${option}=${value}`);
    return helper.formatItem(
      name,
      width,
      `${summary}; ${[`weight=${weight}`, ...options].join(", ")}`,
      helper,
    );
  });
  return helper.formatItemList("Penalties, with the defaults of their options:", items, helper).join("\n");
}
