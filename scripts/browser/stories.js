// What the files of stories share: one world and one browser a file, each story in a
// context of its own, with scripts and, where asked, without.
import { after, before, test } from "node:test";
import { World } from "./world.js";
import { launch, visitor } from "./browse.js";

// stories returns a function that runs a story. story(name, act) has scripts;
// story.both(name, act) runs twice, the second time without. ready fills the world.
export function stories({ args = [], fill = true } = {}) {
  const shared = {};
  before(async () => {
    shared.world = await World.start(...args);
    shared.browser = await launch();
    shared.filled = fill ? await shared.world.fill() : {};
  });
  after(async () => {
    await shared.browser?.close();
    await shared.world?.stop();
  });
  const run = (name, act, options) =>
    test(name, { timeout: 300000 }, async () => {
      const v = await visitor(shared.browser, shared.world, options);
      try {
        await act({ ...v, world: shared.world, filled: shared.filled, browser: shared.browser, visitor: (o) => visitor(shared.browser, shared.world, o), scripts: options?.javaScriptEnabled !== false });
        v.clean(name);
      } finally {
        await v.close();
      }
    });
  const story = (name, act, options) => run(name, act, options);
  story.both = (name, act, options) => {
    run(name, act, options);
    run(name + ", without scripts", act, { ...options, javaScriptEnabled: false });
  };
  return story;
}
