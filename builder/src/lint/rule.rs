//! The rules of the linter: their names, and what each is about. Not its job: finding what breaks them.

/// A rule, called as BuildKit calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`about` says what each rule is about")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    /// Its name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Why it is a rule, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Self::StageNameCasing => {
                "stage names are found in any case, so they are written in lower case"
            }
            Self::FromAsCasing => "AS is written in the same case as its FROM",
            Self::NoEmptyContinuation => {
                "an empty line inside an instruction will end it in later versions of the language"
            }
            Self::ConsistentInstructionCasing => {
                "all instructions of a recipe are written in the same case"
            }
            Self::DuplicateStageName => "of stages with the same name only the last can be named",
            Self::ReservedStageName => "`context` and `scratch` already mean something else",
            Self::JSONArgsRecommended => {
                "a text runs below a shell, which does not hand signals on: the program can't end cleanly"
            }
            Self::MaintainerDeprecated => {
                "MAINTAINER is obsolete: LABEL org.opencontainers.image.authors says the same"
            }
            Self::UndefinedArgInFrom => "FROM knows only ARGs that stand before the first FROM",
            Self::WorkdirRelativePath => {
                "a relative path stands below the base image's, which may change with the next one"
            }
            Self::UndefinedVar => {
                "a variable that neither ARG, ENV nor the base image sets is empty"
            }
            Self::MultipleInstructionsDisallowed => {
                "of several CMD, ENTRYPOINT or HEALTHCHECK in a stage only the last counts"
            }
            Self::LegacyKeyValueFormat => {
                "`name value` is the old form: it holds one pair and is easily misread"
            }
            Self::InvalidBaseImagePlatform => {
                "the base image was made for another platform than the build's"
            }
            Self::RedundantTargetPlatform => "the target's platform is what FROM takes anyway",
            Self::SecretsUsedInArgOrEnv => {
                "values of ARG and ENV stay in the image: RUN --mount=type=secret does not keep them"
            }
            Self::InvalidDefaultArgInFrom => {
                "without build args, the ARG's default must give a base image that can be built on"
            }
            Self::FromPlatformFlagConstDisallowed => {
                "a fixed --platform builds the same on any platform that is asked for"
            }
            Self::CopyIgnoredFile => {
                "what the ignore file leaves out is not in the context: COPY can't find it"
            }
            Self::InvalidDefinitionDescription => {
                "a comment right before ARG or FROM describes it: it begins with its name"
            }
            Self::ExposeProtoCasing => "protocols are written in lower case",
            Self::ExposeInvalidFormat => {
                "EXPOSE names the container's port: addresses and the host's ports belong to its start"
            }
        }
    }

    /// Whether it is asked only where `experimental=` names it.
    pub(crate) fn is_experimental(self) -> bool {
        matches!(
            self,
            Self::CopyIgnoredFile | Self::InvalidDefinitionDescription
        )
    }
}
