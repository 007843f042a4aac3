{{/* The Secrets that are mounted, each once, as a list of names. */}}
{{- define "pgheadroom.secrets" -}}
{{- $names := append .Values.secrets .Values.web.existingSecret -}}
{{- if include "pgheadroom.ownConfig" . -}}
{{- range concat .Values.servers .Values.poolers .Values.receivers -}}
{{- $names = append $names (dig "existingSecret" "name" "" .) -}}
{{- $names = append $names (dig "probe" "credentials" "existingSecret" "name" "" .) -}}
{{- end -}}
{{- end -}}
{{- toYaml (without $names "" | uniq | sortAlpha) -}}
{{- end -}}

{{/* A volume's name for a Secret's, which may be longer and have dots. */}}
{{- define "pgheadroom.volumeName" -}}
secret-{{ . | replace "." "-" | trunc 40 | trimSuffix "-" }}-{{ sha256sum . | trunc 8 }}
{{- end -}}

{{/* The files of Secrets that the configuration names, each as SECRET/KEY. */}}
{{- define "pgheadroom.secretFiles" -}}
{{- $found := list -}}
{{- if include "pgheadroom.ownConfig" . -}}
{{- $folder := printf "%s/" (include "pgheadroom.secretsFolder" .) -}}
{{- range regexFindAll (printf "%s[-._/a-zA-Z0-9]+" $folder) (include "pgheadroom.config" .) -1 -}}
{{- $found = append $found (trimPrefix $folder .) -}}
{{- end -}}
{{- end -}}
{{- toYaml (uniq $found) -}}
{{- end -}}
