//! Repeatable chance: the same seed and the same names always give the same shop. It says nothing about secrets;
//! those come from `tokens`.

/// A SplitMix64 generator.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice of their own for everything that is named differently.
    pub(super) fn of(seed: u64, names: &[&str]) -> Self {
        let mut state = seed ^ 0x6d61_726b_6574_6761;
        for byte in names.iter().flat_map(|name| name.bytes().chain([0])) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(7);
        }
        Self(state)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`; `limit` must not be 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(super) fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap_or(0)]
    }

    /// An amount such as `24.50`, in hundredths between the two.
    pub(super) fn price(&mut self, low: u64, high: u64) -> String {
        let cents = self.between(low, high);
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    pub(super) fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap_or(0))).collect()
    }

    pub(super) fn letters(&mut self, count: usize) -> String {
        const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyz0123456789";
        let letter = |dice: &mut Self| {
            char::from(ALPHABET[usize::try_from(dice.below(ALPHABET.len() as u64)).unwrap_or(0)])
        };
        (0..count).map(|_| letter(self)).collect()
    }

    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let variant = 0x8000 | (low >> 48 & 0x3fff);
        format!(
            "{:08x}-{:04x}-4{:03x}-{variant:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    /// The name of something one could sell.
    pub(super) fn article(&mut self) -> String {
        const LOOKS: [&str; 8] =
            ["Vintage", "Handmade", "Classic", "Striped", "Waxed", "Oversized", "Faded", "Woven"];
        const STUFF: [&str; 8] = ["Denim", "Wool", "Linen", "Leather", "Cotton", "Oak", "Steel", "Canvas"];
        const THINGS: [&str; 8] = ["Jacket", "Lamp", "Boots", "Bag", "Chair", "Scarf", "Kettle", "Shirt"];
        format!("{} {} {}", self.pick(&LOOKS), self.pick(&STUFF), self.pick(&THINGS))
    }
}
