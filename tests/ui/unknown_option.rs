#[sim::test(sedes = 5)]
async fn misspelt() {}

#[sim::test(seeds)]
async fn without_a_value() {}

#[sim::test(seeds = 0)]
async fn no_seed_at_all() {}

#[sim::test(seeds = "many")]
async fn not_a_number() {}

#[sim::test(seed = 5, seeds = 6)]
async fn one_or_many() {}

fn main() {}
