//! Values that people write as a text with a unit.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};

/// Reads such a value; says how one is written where it is none.
pub struct Text<T>(PhantomData<T>, &'static str);

impl<T> Text<T> {
    /// Of what is written so, in a sentence: `a size is written like …`.
    pub const fn like(how: &'static str) -> Self {
        Self(PhantomData, how)
    }
}

impl<T: FromStr<Err = &'static str>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<T, E> {
        Err(E::custom(format!("it has no unit: {}", self.1)))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<T, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<T, E> {
        self.visit_i64(0)
    }
}
