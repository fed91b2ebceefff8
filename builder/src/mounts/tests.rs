//! What mounts become, and what is said of wrong ones.

use super::*;
use crate::expand::{Expander, Quotes};
use crate::variables::Variables;
use crate::{Source, parse};

/// The mounts of a recipe's last RUN, in `/w` with `N=name`; stage 0 is called `tools`.
fn mounts(flags: &str) -> Result<Vec<Mounted>, String> {
    let text = format!("FROM scratch AS tools\nFROM scratch\nRUN {flags} x\n");
    let source = Source::new("f", text.as_bytes());
    let recipe =
        parse(&source, &std::collections::BTreeMap::new()).map_err(|fault| fault.message)?;
    let crate::instruction::Kind::Run(run) = &recipe.stages[1].instructions[0].kind else {
        panic!()
    };
    let mut variables = Variables::default();
    variables.set("N", "name");
    let mut done = Vec::new();
    for mount in &run.mounts {
        let expander = Expander {
            variables: &variables,
            escape: '\\',
            quotes: Quotes::Remove,
        };
        let around = Surroundings {
            expand: &|text| expander.text(text),
            working_dir: "/w",
            origin: mount.from.as_ref().map(|_| Origin::Stage(0)),
            namespace: "",
            agents: done.len(),
        };
        done.push(mounted(mount, &around).map_err(|fault| fault.message)?.kind);
    }
    Ok(done)
}

fn one(flags: &str) -> Mounted {
    mounts(flags).unwrap().remove(0)
}

fn fault(keys: &str) -> String {
    mounts(&format!("--mount={keys}")).unwrap_err()
}

#[test]
fn a_bind_is_read_only_unless_it_says_otherwise() {
    let bind = |origin, source: &str, target: &str, read_only| Mounted::Bind {
        origin,
        source: source.to_owned(),
        target: target.to_owned(),
        read_only,
    };
    assert_eq!(
        one("--mount=target=t/../$N"),
        bind(Origin::Context, "/", "/w/name", true)
    );
    // `..` does not lead out of where the files are from.
    assert_eq!(
        one("--mount=type=bind,from=tools,src=../../a/,dst=/d/,rw"),
        bind(Origin::Stage(0), "/a", "/d", false)
    );
    assert_eq!(
        one("--mount=readwrite=0,dst=/d"),
        bind(Origin::Context, "/", "/d", true)
    );
    // Without a target it is the working directory.
    assert_eq!(
        one("--mount=type=bind"),
        bind(Origin::Context, "/", "/w", true)
    );
}

#[test]
fn a_cache_is_called_as_its_target_unless_it_has_a_name() {
    let Mounted::Cache {
        id,
        sharing,
        seed,
        access,
        target,
        read_only,
    } = one("--mount=type=cache,target=/root/.cache/")
    else {
        panic!()
    };
    assert_eq!(
        (id.as_str(), target.as_str()),
        ("/root/.cache", "/root/.cache")
    );
    assert_eq!((sharing, seed, read_only), (Sharing::Shared, None, false));
    assert_eq!(
        access,
        Access {
            mode: 0o755,
            uid: 0,
            gid: 0
        }
    );
    let Mounted::Cache {
        id,
        sharing,
        seed,
        target,
        ..
    } = one("--mount=type=cache,target=c,from=tools,source=s,sharing=LOCKED")
    else {
        panic!()
    };
    assert_eq!((id.as_str(), target.as_str()), ("c", "/w/c"));
    assert_eq!(sharing, Sharing::Locked);
    let from = Seed {
        origin: Origin::Stage(0),
        source: "/s".to_owned(),
    };
    assert_eq!(seed, Some(from));
    let Mounted::Cache { seed, access, .. } =
        one("--mount=type=cache,target=/c,from=tools,uid=5,mode=0700")
    else {
        panic!()
    };
    assert_eq!(
        (seed, access),
        (
            None,
            Access {
                mode: 0o700,
                uid: 5,
                gid: 0
            }
        )
    );
}

#[test]
fn a_secret_is_a_file_unless_it_is_a_variable() {
    let secret = |flags: &str| match one(flags) {
        Mounted::Secret {
            id,
            target,
            env,
            required,
            access,
        } => (
            id,
            target.unwrap_or_default(),
            env.unwrap_or_default(),
            required,
            access.mode,
        ),
        other => panic!("{other:?}"),
    };
    let expect = |id: &str, target: &str, env: &str, required, mode| {
        (
            id.to_owned(),
            target.to_owned(),
            env.to_owned(),
            required,
            mode,
        )
    };
    assert_eq!(
        secret("--mount=type=secret,id=a/b,required"),
        expect("a/b", "/run/secrets/b", "", true, 0o400)
    );
    assert_eq!(
        secret("--mount=type=secret,target=/k/key,mode=444"),
        expect("key", "/k/key", "", false, 0o444)
    );
    assert_eq!(
        secret("--mount=type=secret,id=a,env=TOK"),
        expect("a", "", "TOK", false, 0o400)
    );
    assert_eq!(
        secret("--mount=type=secret,src=a,env=TOK,target=f"),
        expect("a", "/w/f", "TOK", false, 0o400)
    );
    assert!(fault("type=secret").contains("one of id, source or target"));
    assert!(fault("type=secret,id=a,src=b").contains("both source and id"));
    assert!(fault("type=secret,id=a,from=tools").contains("should not have a from"));
    assert!(fault("type=secret,id=a,env=").contains("invalid value for env"));
}

#[test]
fn an_agent_has_a_socket_of_its_own() {
    let sockets = mounts("--mount=type=ssh --mount=type=ssh,id=$N,required=true,uid=3").unwrap();
    let ssh = |id: &str, number: usize, required, uid| Mounted::Ssh {
        id: id.to_owned(),
        target: format!("/run/buildkit/ssh_agent.{number}"),
        required,
        access: Access {
            mode: 0o600,
            uid,
            gid: 0,
        },
    };
    assert_eq!(
        sockets,
        [ssh("default", 0, false, 0), ssh("name", 1, true, 3)]
    );
    assert!(fault("type=ssh,source=x").contains("ssh does not support source"));
}

#[test]
fn memory_may_have_a_limit() {
    let size = |text: &str| match one(&format!("--mount=type=tmpfs,target=/t,size={text}")) {
        Mounted::Tmpfs { size, .. } => size,
        other => panic!("{other:?}"),
    };
    assert_eq!(size("4096"), Some(4096));
    assert_eq!(size("64m"), Some(64 << 20));
    assert_eq!(size("1.5GiB"), Some(3 << 29));
    assert_eq!(size("2KB"), Some(2048));
    for bad in ["x", "", "1ib", "1xx", "-1", "1e99k"] {
        assert!(
            fault(&format!("type=tmpfs,target=/t,size={bad}")).contains("invalid value for size"),
            "{bad}"
        );
    }
}

#[test]
fn a_key_that_is_wrong_there_is_named() {
    for (keys, message) in [
        (
            "type=bnd",
            "unsupported mount type \"bnd\" (did you mean bind?)",
        ),
        (
            "type=cache,traget=/x",
            "unexpected key 'traget' for mount type 'cache' (did you mean target?)",
        ),
        (
            "type=cache,target",
            "mount key 'target' needs a value: target=…",
        ),
        (
            "required,type=secret,id=x",
            "unexpected key 'required' for mount type 'bind' (type= must stand before it)",
        ),
        (
            "type=cache,size=1,target=/x",
            "unexpected key 'size' for mount type 'cache'",
        ),
        (
            "target=/x,mode=1",
            "mode not allowed for \"bind\" type mounts",
        ),
        (
            "type=tmpfs,target=/x,uid=1",
            "uid not allowed for \"tmpfs\" type mounts",
        ),
        (
            "target=/x,sharing=locked",
            "invalid cache sharing set for bind mount",
        ),
        ("target=/x,", "unexpected key '' for mount type 'bind'"),
    ] {
        assert_eq!(fault(keys), message, "{keys}");
    }
}

#[test]
fn a_wrong_value_is_named() {
    for (keys, message) in [
        (
            "type=cache,target=/x,sharing=share",
            "unsupported sharing value \"share\" (did you mean shared?)",
        ),
        ("target=/x/..", "invalid mount target \"/\""),
        (
            "type=cache,target=/x,uid=-1",
            "invalid value -1 for uid: it must be a number, at most 4294967295",
        ),
        (
            "type=cache,target=/x,uid=4294967296",
            "invalid value 4294967296 for uid: it must be a number, at most 4294967295",
        ),
        (
            "type=cache,target=/x,ro=maybe",
            "invalid value for ro: maybe (true or false)",
        ),
        (
            "type=cache,target=/x,mode=9",
            "invalid value 9 for mode: it must be octal, at most 7777",
        ),
        (
            "from=$N,target=/x",
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
    ] {
        assert_eq!(fault(keys), message, "{keys}");
    }
}
