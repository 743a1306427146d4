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
  const once = async (name, act, options) => {
    const v = await visitor(shared.browser, shared.world, options);
    try {
      await act({ ...v, world: shared.world, filled: shared.filled, browser: shared.browser, visitor: (o) => visitor(shared.browser, shared.world, o), scripts: options?.javaScriptEnabled !== false });
      v.clean(name);
    } finally {
      await v.close();
    }
  };
  // A busy machine makes a browser miss a deadline now and then: a story that ran out of time
  // is told once more, from its beginning, and says so. One that found something wrong is not.
  const run = (name, act, options) =>
    test(name, { timeout: 300000 }, async () => {
      try {
        await once(name, act, options);
      } catch (wrong) {
        if (wrong.name !== "TimeoutError") throw wrong;
        console.log(`told again: ${name}: ${wrong.message.split("\n")[0]}`);
        await once(name, act, options);
      }
    });
  const story = (name, act, options) => run(name, act, options);
  story.both = (name, act, options) => {
    run(name, act, options);
    run(name + ", without scripts", act, { ...options, javaScriptEnabled: false });
  };
  return story;
}
