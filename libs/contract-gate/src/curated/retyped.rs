//! Types change: numbers, texts, lists, maps, objects.

changes! {
    newtype_around_text: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { a: Name } #[serde(transparent)] pub struct Name(String); };
    boxed: Allowed,
        { pub struct M { a: A } pub struct A { b: u64 } }
        => { pub struct M { a: Box<A> } pub struct A { b: u64 } };
    other_list_type: Allowed,
        { pub struct M { a: Vec<u32> } }
        => { pub struct M { a: VecDeque<u32> } };
    other_map_type: Allowed,
        { pub struct M { a: BTreeMap<String, u32> } }
        => { pub struct M { a: HashMap<String, u32> } };
    tuple_became_a_tuple_struct: Allowed,
        { pub struct M { a: (u32, String) } }
        => { pub struct M { a: A } pub struct A(u32, String); };
    recursive_type_gains_an_optional_field: Allowed,
        { pub struct M { #[serde(default, skip_serializing_if = "Vec::is_empty")] children: Vec<M> } }
        => { pub struct M {
            #[serde(default, skip_serializing_if = "Vec::is_empty")] children: Vec<M>,
            #[serde(default, skip_serializing_if = "Option::is_none")] name: Option<String>,
        } };
    untagged_alternatives_kept: Allowed,
        { pub struct M { v: V } #[serde(untagged)] pub enum V { Text(String), Number(u64) } }
        => { pub struct M { v: V } #[serde(untagged)] pub enum V { Number(u64), Text(String) } };
    map_of_the_rest_added: Allowed,
        { pub struct M { a: String } }
        => { pub struct M { a: String, #[serde(flatten)] rest: BTreeMap<String, Value> } };

    number_widened: Fails(Loosened),
        { pub struct M { a: u32 } } => { pub struct M { a: u64 } };
    number_narrowed: Fails(Tightened),
        { pub struct M { a: u64 } } => { pub struct M { a: u32 } };
    small_number_widened: Fails(Loosened),
        { pub struct M { a: u8 } } => { pub struct M { a: u16 } };
    number_became_signed: Fails(Loosened),
        { pub struct M { a: u64 } } => { pub struct M { a: i64 } };
    zero_refused: Fails(Tightened),
        { pub struct M { a: u32 } } => { pub struct M { a: std::num::NonZeroU32 } };
    number_became_text: Fails(Retyped),
        { pub struct M { a: u64 } } => { pub struct M { a: String } };
    switch_became_text: Fails(Retyped),
        { pub struct M { a: bool } } => { pub struct M { a: String } };
    text_became_a_list: Fails(Retyped),
        { pub struct M { a: String } } => { pub struct M { a: Vec<String> } };
    list_became_text: Fails(Retyped),
        { pub struct M { a: Vec<String> } } => { pub struct M { a: String } };
    whole_number_became_a_fraction: Fails(Retyped),
        { pub struct M { a: u64 } } => { pub struct M { a: f64 } };
    fraction_became_a_whole_number: Fails(Retyped),
        { pub struct M { a: f64 } } => { pub struct M { a: u64 } };
    precision_halved: Silent(PrecisionChanged),
        { pub struct M { a: f64 } } => { pub struct M { a: f32 } };
    list_items_retyped: Fails(Retyped),
        { pub struct M { a: Vec<u64> } } => { pub struct M { a: Vec<String> } };
    map_values_retyped: Fails(Retyped),
        { pub struct M { a: BTreeMap<String, u64> } } => { pub struct M { a: BTreeMap<String, String> } };
    map_became_an_object: Silent(Retyped),
        { pub struct M { a: BTreeMap<String, String> } }
        => { pub struct M { a: A } pub struct A { #[serde(default, skip_serializing_if = "String::is_empty")] b: String } };
    object_became_a_map: Fails(Retyped),
        { pub struct M { a: A } pub struct A { b: String } }
        => { pub struct M { a: BTreeMap<String, String> } };
    list_became_a_set: Silent(UniquenessChanged),
        { pub struct M { a: Vec<bool> } } => { pub struct M { a: BTreeSet<bool> } };
    tuple_grew: Fails(Tightened),
        { pub struct M { a: (u32, u32) } } => { pub struct M { a: (u32, u32, u32) } };
    text_became_anything: Fails(Retyped),
        { pub struct M { a: String } } => { pub struct M { a: Value } };
    anything_became_text: Fails(Retyped),
        { pub struct M { a: Value } } => { pub struct M { a: String } };
    null_added: Fails(NullAdded),
        { pub struct M { #[serde(default)] a: String } } => { pub struct M { #[serde(default)] a: Option<String> } };
    null_removed: Fails(NullRemoved),
        { pub struct M { #[serde(default)] a: Option<String> } } => { pub struct M { #[serde(default)] a: String } };
    recursive_type_gains_a_required_field: Fails(RequiredAdded),
        { pub struct M { #[serde(default, skip_serializing_if = "Vec::is_empty")] children: Vec<M> } }
        => { pub struct M { #[serde(default, skip_serializing_if = "Vec::is_empty")] children: Vec<M>, name: String } };
}
