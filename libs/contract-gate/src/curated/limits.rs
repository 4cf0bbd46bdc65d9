//! Patterns and limits that a type's parser enforces.

changes! {
    same_rule_under_another_name: Allowed,
        { pub struct M { a: Slug } } => { pub struct M { a: Handle } };
    optional_checked_text_added: Allowed,
        { pub struct M { a: Slug } }
        => { pub struct M { a: Slug, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<Slug> } };
    optional_limited_list_added: Allowed,
        { pub struct M { a: Slug } }
        => { pub struct M { a: Slug, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<Pair> } };

    pattern_added: Fails(PatternChanged),
        { pub struct M { a: String } } => { pub struct M { a: Slug } };
    pattern_removed: Fails(PatternChanged),
        { pub struct M { a: Slug } } => { pub struct M { a: String } };
    pattern_widened: Fails(PatternChanged),
        { pub struct M { a: Slug } } => { pub struct M { a: Wide } };
    range_added: Fails(Tightened),
        { pub struct M { a: u8 } } => { pub struct M { a: Percent } };
    range_removed: Fails(Loosened),
        { pub struct M { a: Percent } } => { pub struct M { a: u8 } };
    range_narrowed: Fails(Tightened),
        { pub struct M { a: Percent } } => { pub struct M { a: Digit } };
    length_limited: Fails(Tightened),
        { pub struct M { a: String } } => { pub struct M { a: Short } };
    length_unlimited: Fails(Loosened),
        { pub struct M { a: Short } } => { pub struct M { a: String } };
    empty_text_refused: Fails(Tightened),
        { pub struct M { a: String } } => { pub struct M { a: Filled } };
    list_limited: Fails(Tightened),
        { pub struct M { a: Vec<String> } } => { pub struct M { a: Pair } };
    list_unlimited: Fails(Loosened),
        { pub struct M { a: Pair } } => { pub struct M { a: Vec<String> } };
    keyword_the_gate_does_not_know: Fails(Unjudged),
        { pub struct M { a: u8 } } => { pub struct M { a: Even } };
}
