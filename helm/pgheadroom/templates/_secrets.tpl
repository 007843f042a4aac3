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

{{/* The parameters of libpq whose values are secrets. */}}
{{- define "pgheadroom.secretParameters" -}}
[password, sslpassword, oauth_client_secret, scram_client_key, scram_server_key]
{{- end -}}

{{/*
Nothing, or a refusal of a dsn or a URL with a password in it: it would be in a ConfigMap. Takes text, where and,
but for a dsn, instead. What stands between a colon and any @ may be one: libpq takes ? and # in a password, and
one with a slash is in the open too, though it is no use.
*/}}
{{- define "pgheadroom.refusePassword" -}}
{{- $words := include "pgheadroom.secretParameters" . | fromYamlArray | join "|" -}}
{{- if or (regexMatch "(?s)://.*:.+@" .text) (regexMatch (printf "(?i)(^|[^a-z_])(%s)\\s*=" $words) .text) -}}
{{- $instead := default "name that in existingSecret" .instead -}}
{{- fail (printf "%s: has a password in it, which would be in a ConfigMap; put it into a Secret and %s; any other @ is written %%40" .where $instead) -}}
{{- end -}}
{{- end -}}

{{/* The same of every address of an entry. Takes entry and where. */}}
{{- define "pgheadroom.refusePasswords" -}}
{{- $where := .where -}}
{{- $credentials := default dict (dig "probe" "credentials" dict .entry) -}}
{{- include "pgheadroom.refusePassword" (dict "text" (default "" .entry.dsn) "where" (printf "%s.dsn" $where)) -}}
{{- include "pgheadroom.refusePassword" (dict "text" (default "" $credentials.dsn) "where" (printf "%s.probe.credentials.dsn" $where)) -}}
{{- $instead := "name its file in basic_auth.password_file, where its type has that" -}}
{{- include "pgheadroom.refusePassword" (dict "text" (default "" .entry.url) "where" (printf "%s.url" $where) "instead" $instead) -}}
{{- range $index, $url := .entry.urls -}}
{{- include "pgheadroom.refusePassword" (dict "text" $url "where" (printf "%s.urls[%d]" $where $index) "instead" $instead) -}}
{{- end -}}
{{- end -}}
