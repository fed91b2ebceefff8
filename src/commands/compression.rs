//! What layers are compressed with as they leave: flags in podman's words, and what their values mean. Not its job:
//! compressing them (image).

use image::{Leaving, Method};

use crate::report::Failure;

/// How layers leave.
#[derive(Debug, clap::Args)]
pub(super) struct Compression {
    /// What layers are compressed with that are not: gzip or zstd
    #[arg(long, value_name = "NAME", value_parser = ["gzip", "zstd"])]
    compression_format: Option<String>,
    /// How much work goes into it: 0 to 9 for gzip, 1 to 22 for zstd
    #[arg(long, value_name = "N")]
    compression_level: Option<String>,
    /// Layers that came compressed in another way change, too
    #[arg(long)]
    force_compression: bool,
    /// Leave layers that are not compressed as they are
    #[arg(short = 'D', long, alias = "uncompressed", conflicts_with_all = ["compression_format", "force_compression"])]
    disable_compression: bool,
}

impl Compression {
    /// What the flags come to, if `default` is what is done where nobody says anything.
    pub(super) fn leaving(&self, default: Method) -> Result<Leaving, Failure> {
        let name = match self.disable_compression {
            true => Some("uncompressed"),
            false => self.compression_format.as_deref(),
        };
        let method = method(name, self.compression_level.as_deref(), default);
        let method = method.map_err(|why| Failure::new(format!("--{why}")))?;
        if self.force_compression && method == Method::None {
            return Err(Failure::new(
                "--force-compression means nothing without --compression-format",
            ));
        }
        Ok(Leaving {
            method,
            force: self.force_compression,
            ..Leaving::default()
        })
    }
}

/// A method by its name and level, `default` where there is no name.
pub(super) fn method(
    name: Option<&str>,
    level: Option<&str>,
    default: Method,
) -> Result<Method, String> {
    let method = match name {
        Some("gzip") => Method::GZIP,
        Some("zstd") => Method::ZSTD,
        Some(_) => Method::None,
        None => default,
    };
    match (level, method) {
        (None, method) => Ok(method),
        (Some(level), Method::Gzip(_)) => number(level, 0, 9).map(Method::Gzip),
        (Some(level), Method::Zstd(_)) => {
            let level = number(level, 1, 22)?;
            Ok(Method::Zstd(i32::try_from(level).unwrap_or_default()))
        }
        (Some(_), Method::None) => {
            Err("compression-level means nothing without a compression".to_owned())
        }
    }
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let level = text.parse().ok();
    level
        .filter(|level| (least..=most).contains(level))
        .ok_or_else(|| format!("compression-level={text}: it is from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaving(flags: Compression, default: Method) -> Result<(Method, bool), String> {
        let leaving = flags.leaving(default).map_err(|e| e.to_string())?;
        Ok((leaving.method, leaving.force))
    }

    #[test]
    fn flags_say_how_layers_leave() {
        let flags = |format: Option<&str>, level: Option<&str>, force, disable| Compression {
            compression_format: format.map(str::to_owned),
            compression_level: level.map(str::to_owned),
            force_compression: force,
            disable_compression: disable,
        };
        let (gzip, none) = (Method::GZIP, Method::None);
        for (given, default, expected) in [
            (flags(None, None, false, false), gzip, Ok((gzip, false))),
            (flags(None, None, false, false), none, Ok((none, false))),
            (flags(None, None, false, true), gzip, Ok((none, false))),
            (
                flags(Some("zstd"), Some("19"), true, false),
                gzip,
                Ok((Method::Zstd(19), true)),
            ),
            (
                flags(None, Some("9"), false, false),
                gzip,
                Ok((Method::Gzip(9), false)),
            ),
            (
                flags(None, Some("9"), false, false),
                none,
                Err("--compression-level means nothing without a compression"),
            ),
            (
                flags(Some("gzip"), Some("10"), false, false),
                none,
                Err("--compression-level=10: it is from 0 to 9"),
            ),
            (
                flags(None, None, true, false),
                none,
                Err("--force-compression means nothing without --compression-format"),
            ),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(leaving(given, default), expected);
        }
    }
}
