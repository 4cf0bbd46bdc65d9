/// How many times the usual number of cases long-running tests take: `SYNAPSE_TEST_SCALE`, 1 where it is not set.
///
/// # Panics
/// When it is not a whole number from 1 to 1,000.
#[allow(clippy::disallowed_methods)] // a switch of the test run, not a setting of the product
pub fn scale() -> usize {
    let Ok(text) = std::env::var("SYNAPSE_TEST_SCALE") else { return 1 };
    let scale = text.parse().ok().filter(|scale| (1..=1_000).contains(scale));
    scale.unwrap_or_else(|| panic!("SYNAPSE_TEST_SCALE: {text:?} is not a whole number from 1 to 1000"))
}
