{{/* pgheadroom's configuration file, made of the values. */}}

{{- define "pgheadroom.secretsFolder" -}}/etc/pgheadroom/secrets{{- end -}}
{{- define "pgheadroom.configFile" -}}
/etc/pgheadroom/config/{{ ternary .Values.existingConfig.key "pgheadroom.yaml" (eq (include "pgheadroom.ownConfig" .) "") }}
{{- end -}}

{{/* "yes" where the chart makes the file. */}}
{{- define "pgheadroom.ownConfig" -}}
{{- if not (or .Values.existingConfig.secret .Values.existingConfig.configMap) -}}yes{{- end -}}
{{- end -}}

{{/* One value of a libpq keyword=value string; `$` is doubled because pgheadroom fills in ${NAME}. */}}
{{- define "pgheadroom.libpq" -}}
'{{ include "pgheadroom.text" . | replace "\\" "\\\\" | replace "'" "\\'" | replace "$" "$$" }}'
{{- end -}}

{{/* The keys of an entry that the chart turns into dsn and password_file. */}}
{{- define "pgheadroom.chartKeys" -}}
[host, port, database, user, sslmode, parameters, existingSecret]
{{- end -}}

{{/*
An entry of servers, poolers or probe.credentials as pgheadroom reads it.
Takes entry, where (its place in the values), port and database (the defaults).
*/}}
{{- define "pgheadroom.login" -}}
{{- $entry := .entry -}}
{{- $where := .where -}}
{{- $secret := default dict $entry.existingSecret -}}
{{- $folder := printf "%s/%s" (include "pgheadroom.secretsFolder" .) (default "" $secret.name) -}}
{{- $made := deepCopy $entry -}}
{{- range include "pgheadroom.chartKeys" . | fromYamlArray -}}
{{- $made = omit $made . -}}
{{- end -}}
{{- if $entry.dsn -}}
{{- range list "host" "port" "database" "user" "sslmode" "parameters" -}}
{{- if hasKey $entry . -}}
{{- fail (printf "%s.%s: give either dsn or host, not both" $where .) -}}
{{- end -}}
{{- end -}}
{{- range list "caKey" "certKey" "keyKey" -}}
{{- if get $secret . -}}
{{- fail (printf "%s.existingSecret.%s: give host instead of dsn, or name the file in the dsn as sslrootcert, sslcert or sslkey" $where .) -}}
{{- end -}}
{{- end -}}
{{- else if $entry.host -}}
{{- $words := list
  (printf "host=%s" (include "pgheadroom.libpq" $entry.host))
  (printf "port=%s" (include "pgheadroom.libpq" (default .port $entry.port)))
  (printf "dbname=%s" (include "pgheadroom.libpq" (default .database $entry.database)))
  (printf "user=%s" (include "pgheadroom.libpq" (default "pgheadroom" $entry.user))) -}}
{{- $parameters := deepCopy (default dict $entry.parameters) -}}
{{- if $secret.caKey -}}{{- $_ := set $parameters "sslrootcert" (printf "%s/%s" $folder $secret.caKey) -}}{{- end -}}
{{- if $secret.certKey -}}{{- $_ := set $parameters "sslcert" (printf "%s/%s" $folder $secret.certKey) -}}{{- end -}}
{{- if $secret.keyKey -}}{{- $_ := set $parameters "sslkey" (printf "%s/%s" $folder $secret.keyKey) -}}{{- end -}}
{{- $mode := default (ternary "verify-full" "" (hasKey $parameters "sslrootcert")) $entry.sslmode -}}
{{- if $mode -}}{{- $_ := set $parameters "sslmode" $mode -}}{{- end -}}
{{- range $name := keys $parameters | sortAlpha -}}
{{- if has $name (include "pgheadroom.secretParameters" . | fromYamlArray) -}}
{{- fail (printf "%s.parameters.%s: a secret belongs into a Secret; name it in existingSecret" $where $name) -}}
{{- end -}}
{{- $words = append $words (printf "%s=%s" $name (include "pgheadroom.libpq" (get $parameters $name))) -}}
{{- end -}}
{{- $_ := set $made "dsn" (join " " $words) -}}
{{- else -}}
{{- fail (printf "%s: name its host, or give a dsn" $where) -}}
{{- end -}}
{{- include "pgheadroom.refusePassword" (dict "text" $made.dsn "where" (printf "%s.dsn" $where)) -}}
{{- $key := dig "passwordKey" "password" $secret -}}
{{- if and $secret.name $key -}}
{{- range list "password_file" "password_command" "rds_iam" -}}
{{- if hasKey $entry . -}}
{{- fail (printf "%s.%s: existingSecret gives the password already; leave one out, or say passwordKey: \"\"" $where .) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $made "password_file" (printf "%s/%s" $folder $key) -}}
{{- end -}}
{{- toYaml $made -}}
{{- end -}}

{{/* A server or a pooler, with its probe. Takes what pgheadroom.login takes, and pooler. */}}
{{- define "pgheadroom.endpoint" -}}
{{- $made := include "pgheadroom.login" . | fromYaml -}}
{{- $credentials := dig "probe" "credentials" dict .entry -}}
{{- if $credentials -}}
{{- if not (or $credentials.dsn $credentials.host) -}}
{{- $credentials = mustMerge (deepCopy $credentials) (omit (pick .entry "host" "port" "sslmode" "parameters" "database") (ternary "database" "" .pooler) | deepCopy) -}}
{{- $ca := dig "existingSecret" "caKey" "" .entry -}}
{{- if and $ca (not (dig "existingSecret" "caKey" "" $credentials)) -}}
{{- $file := printf "%s/%s/%s" (include "pgheadroom.secretsFolder" .) .entry.existingSecret.name $ca -}}
{{- $_ := set $credentials "parameters" (mustMerge (default dict $credentials.parameters) (dict "sslrootcert" $file)) -}}
{{- end -}}
{{- end -}}
{{- $login := include "pgheadroom.login" (dict "entry" $credentials "where" (printf "%s.probe.credentials" .where) "port" .port "database" "postgres") | fromYaml -}}
{{- $_ := set $made.probe "credentials" $login -}}
{{- end -}}
{{- toYaml $made -}}
{{- end -}}

{{/* Which key of the configuration takes a receiver's secret, and which key of a Secret it is by default. */}}
{{- define "pgheadroom.receiverSecrets" -}}
slack: {file: webhook_url_file, key: webhook-url}
pagerduty: {file: routing_key_file, key: routing-key}
webhook: {file: url_file, key: url}
{{- end -}}

{{/* A receiver as pgheadroom reads it. Takes entry and where. */}}
{{- define "pgheadroom.receiver" -}}
{{- $made := omit .entry "existingSecret" -}}
{{- $where := .where -}}
{{- with .entry.existingSecret -}}
{{- $folder := printf "%s/%s" (include "pgheadroom.secretsFolder" $) .name -}}
{{- $files := deepCopy (default dict .keys) -}}
{{- $usual := get (include "pgheadroom.receiverSecrets" $ | fromYaml) $.entry.type -}}
{{- if and (not $usual) (or .key (not $files)) -}}
{{- fail (printf "%s.existingSecret.keys: say which key of the Secret is for which key of a %s, such as {url_file: url}" $where $.entry.type) -}}
{{- end -}}
{{- if and $usual (or .key (not $files)) -}}
{{- $_ := set $files $usual.file (default $usual.key .key) -}}
{{- end -}}
{{- range $name, $key := $files -}}
{{- if hasKey $made $name -}}
{{- fail (printf "%s.%s: existingSecret gives it already; leave one of them out" $where $name) -}}
{{- end -}}
{{- $_ := set $made $name (printf "%s/%s" $folder $key) -}}
{{- end -}}
{{- end -}}
{{- toYaml $made -}}
{{- end -}}

{{/* The whole file. */}}
{{- define "pgheadroom.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- range $section := list "servers" "poolers" "receivers" -}}
{{- $entries := list -}}
{{- range $index, $entry := default list (get $config $section) -}}
{{- include "pgheadroom.refusePasswords" (dict "entry" $entry "where" (printf "config.%s[%d]" $section $index)) -}}
{{- $entries = append $entries $entry -}}
{{- end -}}
{{- range $index, $entry := get $.Values $section -}}
{{- $where := printf "%s[%d]" $section $index -}}
{{- include "pgheadroom.refusePasswords" (dict "entry" $entry "where" $where) -}}
{{- if eq $section "receivers" -}}
{{- $entries = append $entries (include "pgheadroom.receiver" (dict "entry" $entry "where" $where) | fromYaml) -}}
{{- else -}}
{{- $pooler := eq $section "poolers" -}}
{{- $usual := dict "entry" $entry "where" $where "pooler" $pooler "port" (ternary 6432 5432 $pooler) "database" (ternary "pgbouncer" "postgres" $pooler) -}}
{{- $entries = append $entries (include "pgheadroom.endpoint" $usual | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- include "pgheadroom.refuseTwins" (dict "entries" $entries "section" $section) -}}
{{- if $entries -}}{{- $_ := set $config $section $entries -}}{{- end -}}
{{- end -}}
{{- include "pgheadroom.refuseStrangers" $config -}}
{{- if .Values.rules.additionalGroups -}}
{{- include "pgheadroom.refuseRecording" . -}}
{{- $rules := default dict $config.rules -}}
{{- $_ := set $config "rules" (set $rules "files" (append (default list $rules.files) "additional.rules.yaml")) -}}
{{- end -}}
{{- $_ := set $config "listen" (printf "%s:%d" .Values.bindAddress 9970) -}}
{{- $_ := set $config "state_dir" "/var/lib/pgheadroom/state" -}}
{{- if .Values.web.existingSecret -}}
{{- $_ := set $config "web" (dict "config_file" (printf "%s/%s/%s" (include "pgheadroom.secretsFolder" .) .Values.web.existingSecret .Values.web.key)) -}}
{{- end -}}
{{- if not (hasKey $config "install_id") -}}
{{- $_ := set $config "install_id" (printf "%s/%s" (include "pgheadroom.namespace" .) (include "pgheadroom.fullname" .) | trunc 120) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Names tell entries apart. */}}
{{- define "pgheadroom.refuseTwins" -}}
{{- $section := .section -}}
{{- $seen := dict -}}
{{- range .entries -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "%s: two entries are named %q; names must differ" $section .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end -}}

{{/* What is named must be there; included files may name more than the chart can see. */}}
{{- define "pgheadroom.refuseStrangers" -}}
{{- if not .include -}}
{{- if not .servers -}}
{{- fail "servers: name at least one server, with its host" -}}
{{- end -}}
{{- $servers := list -}}{{- range .servers -}}{{- $servers = append $servers .name -}}{{- end -}}
{{- range $index, $pooler := .poolers -}}
{{- if and $pooler.server (not (has $pooler.server $servers)) -}}
{{- fail (printf "poolers[%d].server: no server is named %q; there are: %s" $index $pooler.server (join ", " $servers)) -}}
{{- end -}}
{{- end -}}
{{- $receivers := list -}}{{- range .receivers -}}{{- $receivers = append $receivers .name -}}{{- end -}}
{{- range $index, $route := .routes -}}
{{- if not (has $route.receiver $receivers) -}}
{{- fail (printf "config.routes[%d].receiver: no receiver is named %q; there are: %s" $index $route.receiver (join ", " $receivers | default "none")) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
