// What the files of stories share: one world and one browser a file, each story in a
// context of its own, with scripts and, where asked, without.
import { after, before, test } from "node:test";
import { Front, hosts } from "./front.js";
import { World } from "./world.js";
import { launch, visitor } from "./browse.js";

// stories returns a function that runs a story. story(name, act) has scripts;
// story.both(name, act) runs twice, the second time without. fill says how many events the world
// has, front that it is behind a TLS proxy: see Front.
export function stories({ args = [], fill = 40, front = false } = {}) {
  const shared = {};
  before(async () => {
    const front_ = front ? await Front.start() : undefined;
    shared.world = await World.start(...args, ...(front_ ? ["--portal-url", front_.url] : []));
    if (front_) shared.world.behind(front_);
    shared.browser = await launch(front_ ? hosts : []);
    shared.filled = await shared.world.fill(fill);
  });
  after(async () => {
    await shared.browser?.close();
    await shared.world?.stop();
  });
  const once = async (name, act, options) => {
    const v = await visitor(shared.browser, shared.world, { ...shared.world.tls, ...options });
    try {
      await act({ ...v, world: shared.world, filled: shared.filled, browser: shared.browser, visitor: (o, other) => visitor(other ?? shared.browser, shared.world, { ...shared.world.tls, ...o }), scripts: options?.javaScriptEnabled !== false });
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
        console.log(`told again: ${name}: ${wrong.message.split("\n").slice(0, 3).join(" ")} ${wrong.stack.split("\n").find((line) => line.includes(".test.js"))}`);
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
