//! Kernels are compiled into one function an instruction set. What the compiler leaves outside it has not its instructions: every intrinsic there is a
//! call, tens of times slower, and nothing else tells.

/// Whether `text` is among `bytes`.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(debug_assertions)))]
fn no_intrinsic_is_a_function_of_its_own() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_foretoken")).unwrap();
    assert!(holds(&program, "with_avx2"), "the command has names of functions, which this test reads");
    for width in [256, 512] {
        assert!(
            !holds(&program, &format!("_mm{width}_")),
            "`nm -C target/release/foretoken | grep _mm{width}_` shows which, ours or a library's"
        );
    }
}
