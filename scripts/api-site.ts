// Writes the API site with the guides to out/docs, as static pages for any host and path, and checks its links. Run: npm run docs
import { rmSync } from "node:fs";
import { deadLinks, filesIn } from "./dead-links.ts";
import { documentation } from "./public-api.ts";

const out = "out/docs";
const app = await documentation();
const project = await app.convert();
if (!project) process.exit(1);
app.validate(project);
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exit(1);
rmSync(out, { recursive: true, force: true });
await app.generateDocs(project, out);
const pages = filesIn(out, ".html");
const dead = deadLinks(pages);
for (const link of dead) console.error(`dead link: ${link}`);
if (dead.length > 0 || app.logger.hasErrors()) process.exit(1);
console.log(`${pages.length} pages in ${out}; every link leads somewhere`);
