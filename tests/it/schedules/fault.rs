//! What can go wrong, and where. The one rule: a schedule is named by one word, and the name is all it takes to run it again.

use std::{fmt, str::FromStr};

use super::dice::{Dice, For};

/// A point at which something can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The store is asked for a record.
    Read,
    /// The store is to keep an intent.
    Begin,
    /// The store is to keep what an answer brought.
    Replace,
    /// The store is to close an intent.
    Close,
    /// The store is to keep what it refused, at the end of the process.
    Spill,
    /// A token call is at the server's door.
    Arrive,
    /// The server has done what it does; its answer is on the way.
    Answer,
    /// Nothing in particular: time has passed.
    Turn,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// One thing that goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Fault {
            $($(#[$doc])* $name,)+
        }

        impl Fault {
            const ALL: &[Self] = &[$(Self::$name),+];

            pub(super) fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

faults! {
    /// The process dies before the step takes effect.
    CrashBefore = "crash-before",
    /// The process dies when the step has taken effect, and before it knows.
    CrashAfter = "crash-after",
    /// The wall clock is set forward.
    StepForward = "step-forward",
    /// The wall clock is set back.
    StepBack = "step-back",
    /// The machine sleeps: timers stand still, clocks go on.
    Suspend = "suspend",
    /// The process is stopped for a while (SIGSTOP).
    Stop = "stop",
    /// The process is asked to end (SIGTERM), and started again.
    Drain = "drain",
    /// The account is let go by the cache.
    Evict = "evict",
    /// The account's keeper is replaced, as after a change from outside.
    Renew = "renew",
    /// The seller logs in again: a new grant takes the place of the old one, as soon as the store takes it.
    Login = "login",
    /// The process is asked to end, serves on, and is asked again.
    Impatience = "impatience",
    /// The server refuses everybody for a while, and ends nothing.
    Everybody = "everybody",
    /// The user is disabled for a while.
    Disabled = "disabled",
    /// The seller revokes the grant.
    Revoke = "revoke",
    /// The store fails and has written nothing.
    FailBefore = "fail-before",
    /// The store fails and has written all.
    FailAfter = "fail-after",
    /// The store takes seconds.
    Slow = "slow",
    /// The store fails for a while.
    Full = "full",
    /// The store's file is not in its place for a while: no intent can be kept.
    Moved = "moved",
    /// The store cannot even spill.
    SpillFails = "spill-fails",
    /// Nothing reached the server.
    NotSent = "not-sent",
    /// 429 with Retry-After.
    Throttled = "throttled",
    /// The client is refused, by mistake.
    WrongClient = "wrong-client",
    /// 500, and nothing was done.
    Trouble = "trouble",
    /// 503 with Retry-After, and nothing was done.
    Busy = "busy",
    /// The connection breaks, and nothing was done.
    ResetBefore = "reset-before",
    /// The call takes 45 s to be done.
    StallBefore = "stall-before",
    /// 504, and it was done.
    BadGateway = "bad-gateway",
    /// 503 with Retry-After, and it was done.
    BusyDone = "busy-done",
    /// The connection breaks, and it was done.
    ResetAfter = "reset-after",
    /// It was done, and no answer comes.
    Silence = "silence",
    /// The answer takes 45 s.
    StallAfter = "stall-after",
    /// An answer of any kind that cannot be used, but for its refresh token.
    Unusable = "unusable",
    /// A 200 that nobody can read.
    Garbage = "garbage",
}

impl Fault {
    /// What makes it worse when the last answer was lost.
    pub(super) const WORSE: [Self; 6] =
        [Self::NotSent, Self::Throttled, Self::FailBefore, Self::Slow, Self::Evict, Self::CrashAfter];

    /// What makes a process forget what it knew.
    pub(super) const FORGETTING: [Self; 3] = [Self::CrashAfter, Self::Evict, Self::Drain];

    /// Whether the process cannot know afterwards if its refresh token was spent.
    pub(super) fn leaves_doubt(self, step: Step) -> bool {
        match self {
            Self::CrashBefore => step == Step::Answer,
            Self::BadGateway | Self::BusyDone | Self::Silence | Self::Trouble => true,
            _ => false,
        }
    }

    /// What can happen at a step.
    pub(super) fn at(step: Step) -> &'static [Self] {
        use Fault::{
            BadGateway, Busy, BusyDone, CrashAfter, CrashBefore, Disabled, Drain, Everybody, Evict,
            FailAfter, FailBefore, Full, Garbage, Impatience, Login, Moved, NotSent, Renew, ResetAfter,
            ResetBefore, Revoke, Silence, Slow, SpillFails, StallAfter, StallBefore, StepBack, StepForward,
            Stop, Suspend, Throttled, Trouble, Unusable, WrongClient,
        };
        match step {
            Step::Read => {
                &[CrashBefore, FailBefore, Slow, Full, Moved, Evict, Suspend, StepForward, Drain, Login]
            }
            Step::Begin | Step::Replace | Step::Close => &[
                CrashBefore,
                CrashAfter,
                FailBefore,
                FailAfter,
                Slow,
                Full,
                Moved,
                Login,
                Suspend,
                Stop,
                Drain,
                Impatience,
                StepForward,
                StepBack,
                Evict,
                Renew,
            ],
            Step::Spill => &[CrashBefore, CrashAfter, SpillFails],
            Step::Arrive => &[
                CrashBefore,
                CrashAfter,
                NotSent,
                Throttled,
                WrongClient,
                Trouble,
                Busy,
                ResetBefore,
                StallBefore,
                Everybody,
                Disabled,
                Login,
                Suspend,
                Stop,
                Drain,
                Impatience,
                StepForward,
                StepBack,
                Evict,
                Renew,
                Revoke,
            ],
            Step::Answer => &[
                CrashBefore,
                CrashAfter,
                BadGateway,
                BusyDone,
                ResetAfter,
                Silence,
                StallAfter,
                Unusable,
                Garbage,
                Login,
                Suspend,
                Stop,
                Drain,
                Impatience,
                StepForward,
                StepBack,
                Evict,
                Renew,
                Revoke,
            ],
            Step::Turn => &[
                CrashBefore,
                StepForward,
                StepBack,
                Suspend,
                Stop,
                Drain,
                Evict,
                Renew,
                Revoke,
                Login,
                Moved,
                Everybody,
                Disabled,
            ],
        }
    }
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|fault| fault.word() == word)
            .ok_or_else(|| format!("no fault `{word}`"))
    }
}

/// How the server treats a refresh token that was used already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It ends the grant.
    Strict,
    /// It takes that for a repetition for a while; then it ends the grant.
    Grace,
    /// It takes that for a repetition until the successor is used; then it ends the grant.
    Lenient,
    /// It counts uses; one too many ends the session, with its access tokens and the grants beside it.
    Counting,
    /// It is strict, and works without a lock: of two calls that it works on at once both are granted, and what it saves
    /// last is what it knows.
    Unlocked,
}

impl Manner {
    pub(super) const ALL: [Self; 5] =
        [Self::Strict, Self::Grace, Self::Lenient, Self::Counting, Self::Unlocked];

    /// The manner of a schedule's number.
    pub(super) fn numbered(number: u64) -> Self {
        Self::ALL[usize::try_from(number % Self::ALL.len() as u64).unwrap()]
    }

    fn word(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Grace => "grace",
            Self::Lenient => "lenient",
            Self::Counting => "counting",
            Self::Unlocked => "unlocked",
        }
    }
}

/// What goes wrong in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Nothing.
    Calm,
    /// One thing, at one step.
    Single(Fault, usize),
    /// One thing, and others after it, each at the first step after the one before that can have it.
    Chain(Fault, usize, [Option<Fault>; 2]),
    /// Whatever the dice say.
    Chaos,
}

/// One schedule: all that happens follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) manner: Manner,
    pub(super) seed: u64,
    pub(super) course: Course,
}

impl Schedule {
    /// What goes wrong at the step of that number, after so many that went wrong.
    pub(super) fn fault(&self, number: usize, step: Step, happened: usize, often: u64) -> Option<Fault> {
        let possible = Fault::at(step);
        match self.course {
            Course::Calm => None,
            Course::Single(fault, at) => Some(fault).filter(|fault| at == number && possible.contains(fault)),
            Course::Chain(fault, at, _) if happened == 0 => {
                Some(fault).filter(|fault| at == number && possible.contains(fault))
            }
            Course::Chain(_, _, more) => {
                more.get(happened - 1).copied().flatten().filter(|fault| possible.contains(fault))
            }
            Course::Chaos => {
                let mut dice = Dice::of(self.seed, For::Fault, [number as u64, 0, 0]);
                dice.percent(often).then(|| dice.pick(possible))
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.manner.word(), self.seed)?;
        match self.course {
            Course::Calm => f.write_str("calm"),
            Course::Single(fault, step) => write!(f, "{}@{step}", fault.word()),
            Course::Chain(fault, step, more) => {
                write!(f, "{}@{step}", fault.word())?;
                more.iter().flatten().try_for_each(|fault| write!(f, "+{}", fault.word()))
            }
            Course::Chaos => f.write_str("chaos"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let [manner, seed, course] = text.splitn(3, ':').collect::<Vec<_>>()[..] else {
            return Err("a schedule is written MANNER:SEED:COURSE".to_owned());
        };
        let manner = Manner::ALL.into_iter().find(|known| known.word() == manner).ok_or("no such manner")?;
        let seed = seed.parse().map_err(|_| "the seed is no number")?;
        let course = match course {
            "calm" => Course::Calm,
            "chaos" => Course::Chaos,
            faults => {
                let (fault, at) = faults.split_once('@').ok_or("a fault is written FAULT@STEP")?;
                let (at, more) = at.split_once('+').map_or((at, None), |(at, more)| (at, Some(more)));
                let at = at.parse().map_err(|_| "the step is no number")?;
                let Some(more) = more else {
                    return Ok(Self { manner, seed, course: Course::Single(fault.parse()?, at) });
                };
                let (second, third) = more.split_once('+').map_or((more, None), |(a, b)| (a, Some(b)));
                Course::Chain(fault.parse()?, at, [Some(second.parse()?), third.map(str::parse).transpose()?])
            }
        };
        Ok(Self { manner, seed, course })
    }
}
