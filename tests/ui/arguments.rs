#[sim::test]
async fn takes_an_argument(seed: u64) {}

fn main() {}
