//! `#[sim::test]`: turns an `async fn` into a test that runs in a simulation, once for every seed.
//!
//! The attribute is documented where users meet it, in the package `detsim`.

use proc_macro::TokenStream;
use proc_macro2::Span;
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprPath, ItemFn, Lit, LitStr, Meta, MetaNameValue, Path, Token};

/// See the documentation of `sim::test`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// The arguments of the attribute, checked.
struct Options {
    seeds: Option<u64>,
    seed: Option<u64>,
    time_limit: u64,
    nightly: bool,
    expect: Option<&'static str>,
    krate: Path,
}

/// How many seeds a test runs that does not say.
const DEFAULT_SEEDS: u64 = 10;

const KNOWN: &str = "`seeds = 200`, `seed = 7`, `time_limit = \"10min\"`, `tier = \"nightly\"`, \
                     `expect = \"incorrect\"`, `crate = \"sim\"`";

/// What `expect` may say, and the outcome it stands for.
const OUTCOMES: [(&str, &str); 6] = [
    ("incorrect", "Incorrect"),
    ("panicked", "Panicked"),
    ("stuck", "Stuck"),
    ("leaked", "Leaked"),
    ("timed-out", "TimedOut"),
    ("vacuous", "Vacuous"),
];

impl Options {
    fn parse(arguments: proc_macro2::TokenStream) -> syn::Result<Options> {
        let mut options = Options {
            seeds: None,
            seed: None,
            time_limit: 3_600_000_000_000,
            nightly: false,
            expect: None,
            krate: syn::parse_quote!(::sim),
        };
        for meta in Punctuated::<Meta, Token![,]>::parse_terminated.parse2(arguments)? {
            let Meta::NameValue(MetaNameValue { path, value, .. }) = &meta else {
                return Err(syn::Error::new(meta.span(), format!("expected `name = value`: {KNOWN}")));
            };
            let name = path.get_ident().map(ToString::to_string).unwrap_or_default();
            match &*name {
                "seeds" => match integer(value)? {
                    0 => return Err(syn::Error::new(value.span(), "a test needs at least one seed")),
                    seeds => options.seeds = Some(seeds),
                },
                "seed" => options.seed = Some(integer(value)?),
                "time_limit" => options.time_limit = duration(value)?,
                "tier" => {
                    options.nightly = match &*text(value)?.value() {
                        "quick" => false,
                        "nightly" => true,
                        _ => {
                            return Err(syn::Error::new(
                                value.span(),
                                "the tiers are \"quick\" (the default) and \"nightly\"",
                            ));
                        }
                    }
                }
                "expect" => options.expect = Some(outcome(value)?),
                "crate" => options.krate = text(value)?.parse()?,
                _ => return Err(syn::Error::new(path.span(), format!("unknown option; the options are {KNOWN}"))),
            }
        }
        if options.seed.is_some() && options.seeds.is_some() {
            return Err(syn::Error::new(Span::call_site(), "`seed` names the only seed of a test: leave `seeds` out"));
        }
        Ok(options)
    }
}

fn integer(value: &Expr) -> syn::Result<u64> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse(),
        _ => Err(syn::Error::new(value.span(), "expected a whole number such as 200 or 0x1f3a9c")),
    }
}

fn text(value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        // `crate = sim` reads naturally, so it is told apart from other mistakes.
        Expr::Path(ExprPath { path, .. }) => {
            let name = path.get_ident().map(ToString::to_string).unwrap_or_default();
            Err(syn::Error::new(value.span(), format!("expected a string: write \"{name}\" with quotes")))
        }
        _ => Err(syn::Error::new(value.span(), "expected a string in quotes")),
    }
}

/// Nanoseconds of a text such as `"90s"`.
fn duration(value: &Expr) -> syn::Result<u64> {
    let text = text(value)?.value();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let size = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => 0u64,
    };
    let nanos = number.parse::<u64>().ok().and_then(|number| number.checked_mul(size)).filter(|nanos| *nanos > 0);
    nanos.ok_or_else(|| {
        syn::Error::new(
            value.span(),
            "expected a length of simulated time such as \"500ms\", \"90s\", \"10min\" or \"2h\"",
        )
    })
}

fn outcome(value: &Expr) -> syn::Result<&'static str> {
    let text = text(value)?.value();
    OUTCOMES.iter().find(|(name, _)| *name == text).map(|(_, variant)| *variant).ok_or_else(|| {
        let names: Vec<String> = OUTCOMES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        syn::Error::new(value.span(), format!("the outcomes that a test can expect are {}", names.join(", ")))
    })
}

fn check_signature(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(syn::Error::new(
            signature.fn_token.span(),
            "a simulated test is an `async fn`: write `async` before `fn`",
        ));
    }
    if let Some(argument) = signature.inputs.first() {
        return Err(syn::Error::new(
            argument.span(),
            "a simulated test takes no arguments: draw what varies from sim::random()",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(syn::Error::new(signature.generics.span(), "a simulated test cannot be generic"));
    }
    if let Some(other) = function.attrs.iter().find(|attribute| attribute.path().is_ident("test")) {
        return Err(syn::Error::new(other.span(), "#[sim::test] is the test attribute already: remove #[test]"));
    }
    Ok(())
}

fn expand(
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| syn::Error::new(error.span(), format!("#[sim::test] goes on an `async fn`: {error}")))?;
    check_signature(&function)?;
    let Options { seeds, seed, time_limit, nightly, expect, krate } = Options::parse(arguments)?;
    let seeds = seeds.unwrap_or(DEFAULT_SEEDS);
    let ItemFn { attrs, vis, sig, block } = &function;
    let (name, output) = (&sig.ident, &sig.output);
    let seed = match seed {
        Some(seed) => quote!(::core::option::Option::Some(#seed)),
        None => quote!(::core::option::Option::None),
    };
    let expect = match expect {
        Some(variant) => {
            let variant = syn::Ident::new(variant, Span::call_site());
            quote!(::core::option::Option::Some(#krate::Outcome::#variant))
        }
        None => quote!(::core::option::Option::None),
    };
    let body = quote_spanned!(block.span()=> async fn __sim_body() #output #block);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() {
            #body
            #[#krate::__private::linkme::distributed_slice(#krate::__private::TESTS)]
            #[linkme(crate = #krate::__private::linkme)]
            static __SIM_CASE: #krate::__private::Case = #krate::__private::Case {
                path: ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)),
                package: ::core::env!("CARGO_PKG_NAME"),
                file: ::core::file!(),
                seeds: #seeds,
                seed: #seed,
                time_limit_ns: #time_limit,
                nightly: #nightly,
                expect: #expect,
                run: |sim| sim.run(__sim_body),
            };
            __SIM_CASE.check();
        }
    })
}
