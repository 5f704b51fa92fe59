// Steady callers: for each account one that asks at a fixed pace, whatever the answers are.

/**
 * Asks `gate` for every account as long as `during(answers)` takes; all answers: { account, at, took, status, body }. None
 * outlives it, however it ends.
 */
export async function underLoad(gate, accounts, during, { perSecond = 4, path = "/items" } = {}) {
  const answers = [];
  let over = false;
  const caller = async (account, index) => {
    // Spread over the interval, and never two at a time.
    let next = performance.now() + (index * 1000) / perSecond / accounts.length;
    while (!over) {
      await until(next);
      next = Math.max(next + 1000 / perSecond, performance.now());
      if (!over) answers.push(await asked(gate, account, path));
    }
  };
  const callers = accounts.map(caller);
  try {
    await during(answers);
  } finally {
    over = true;
    await Promise.all(callers);
  }
  return answers;
}

/** One answer; status 0 where there was none. */
async function asked(gate, account, path) {
  const at = performance.now();
  const unanswered = (error) => ({ status: 0, body: { error: String(error.cause ?? error) } });
  const reply = await gate.ask(`/${account}${path}`).catch(unanswered);
  return { account, at, took: performance.now() - at, status: reply.status, body: reply.body };
}

const until = (moment) => new Promise((resolve) => setTimeout(resolve, moment - performance.now()));

/** How often each status (and code of our own) came: { "200": 5, "503 login_required": 1 }. */
export function tally(answers) {
  const counts = {};
  for (const { status, body } of answers) {
    const key = body?.code ? `${status} ${body.code}` : String(status);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Answers that came with another seller's token. */
export const strangers = (answers) =>
  answers.filter(({ account, status, body }) => status === 200 && body.who !== account.split("@")[1]);
