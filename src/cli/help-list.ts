import { type Command, Help } from "commander";

/** Adds a list under a heading to the end of a command's help. */
export function addHelpList(
  command: Command,
  heading: string,
  rows: readonly { readonly name: string; readonly text: string }[],
): void {
  const before = command.configureHelp().formatHelp ?? Help.prototype.formatHelp;
  command.configureHelp({
    formatHelp: (shown, helper) => {
      const width = helper.padWidth(shown, helper);
      const items = rows.map(({ name, text }) => helper.formatItem(name, width, text, helper));
      const list = helper.formatItemList(heading, items, helper).join("\n");
      return `${before.call(helper, shown, helper)}\n${list}`;
    },
  });
}
