//! t
use foretoken_data::*;
#[test]
fn w() {
    for t in ["", "missing=[-9999]", "missing=[-9999]\noutliers=\"mask\""] {
        let i = std::time::Instant::now();
        let (s, a) = read(std::path::Path::new("/tmp/wx/weather/weather.csv"), &toml::from_str(t).unwrap()).unwrap();
        println!("== {t:?} {} {} {} {:?} {:?}", a.rows, a.series, a.step, s.step(), i.elapsed());
        for l in a.lines() {
            println!("{l:?}");
        }
    }
    for f in ["ett/ETTh1.csv", "exchange/exchange_rate.csv"] {
        match read(&std::path::Path::new("/work/shared/data").join(f), &ReadOptions::default()) {
            Ok((s, a)) => {
                println!("== {f} {} {} {} {:?}", a.rows, a.series, a.step, s.step());
                for l in a.lines() {
                    println!("{l:?}");
                }
            }
            Err(e) => println!("{e}"),
        }
    }
    let o: ReadOptions = toml::from_str("columns=[\"users\"]\nfuture=[\"holiday\",\"month\"]\npast=[\"temp\"]").unwrap();
    let (s, a) = read(std::path::Path::new("/work/shared/data/covariates/bike_sharing_dataset_clean.csv"), &o).unwrap();
    println!("== bike {} {:?}", a.rows, s.step());
    for l in a.lines() {
        println!("{l:?}");
    }
    let i = std::time::Instant::now();
    let mut t = String::from("unique_id,ds,y\n");
    for s in 0..2000 {
        for r in 0..500 + s % 7 {
            t += &format!("s{s},{r},{}\n", r % 13);
        }
    }
    std::fs::write("/tmp/wx/long.csv", t).unwrap();
    let (_, a) =
        read(std::path::Path::new("/tmp/wx/long.csv"), &toml::from_str("format=\"long\"\nalign=\"end\"").unwrap()).unwrap();
    println!("long {} {} {:?} {:?}", a.rows, a.series, a.lines(), i.elapsed());
}
