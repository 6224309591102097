//! Mistakes with `#[sim::test]` are explained where they are made.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
